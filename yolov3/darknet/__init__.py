"""The original program's files: ``.cfg`` describes a network, ``.weights`` holds its numbers."""
