"""Nadir's desktop application: a face on the engine. Qt lives only here; nothing here computes."""
