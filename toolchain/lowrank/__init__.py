"""Weights as products of smaller ones: decompositions of arrays, and which ranks to offer."""
