"""How good a lifter is, on people and cameras it has not seen; knows no network, only a `sample` callable."""
