"""The answer's side of the window: what it says, the candidates, the evidence, the comparison."""
