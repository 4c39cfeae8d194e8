"""Tokens -> counts -> estimates -> look-up: n-gram language models.

``counting.py`` numbers and counts the n-grams of a text, ``smoothing.py`` turns counts into probabilities by one of the
methods in ``methods.py``, ``table.py`` looks them up, ``model.py`` is the family ``ngram`` that users name.
"""
