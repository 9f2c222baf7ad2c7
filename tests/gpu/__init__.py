"""Checks and measurements on an NVIDIA GPU, by one command: ``python -m tests.gpu`` (see CONTRIBUTING)."""
