"""Street-view retrieval: the backbones and aggregations of visual place recognition, and the published methods.

A module here holds one component; importing the package registers them all (see :mod:`engine.networks.parts`,
:mod:`engine.networks.registry` and :mod:`engine.networks.releases`).
"""
