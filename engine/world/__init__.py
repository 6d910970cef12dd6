"""Port Nemo and its sister towns: procedural worlds whose geometry is known exactly.

One vector town (:mod:`engine.world.town`) gives an orthophoto, panoramas and photos whose truth is exact, so that
Nadir can be trained, shipped and tested without any real imagery.
"""
