"""NCSN (Song & Ermon 2019), and with some of the techniques of Song & Ermon (2020)."""
