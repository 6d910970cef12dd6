"""Indexes from strangers, by the thousand: valid ones are spoiled at random and opened in a process of their own.

``python -m tests.fuzz --seconds 600`` goes on for as long as it is told; a short run is among the tests.
"""
