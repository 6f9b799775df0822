"""The door, and what stands behind it: validation, and the training sets of the nets."""
