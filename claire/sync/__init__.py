"""How nodes come to know the same: a pure core and a thin network shell."""
