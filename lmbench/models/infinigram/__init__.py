"""Tokens -> sorted contexts -> their tree -> estimates: an n-gram model without a highest order.

``suffixes.py`` sorts all contexts of a text, ``tree.py`` joins what they share and counts what follows,
``smoothing.py`` learns how much to trust each count, ``table.py`` looks probabilities up, ``model.py`` is the family
``infinigram`` that users name.
"""
