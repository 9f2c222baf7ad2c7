"""Speed against other programs."""
