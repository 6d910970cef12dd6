"""The photo's side of the window: the tray, the picture with what is known of it, and the facts to correct."""
