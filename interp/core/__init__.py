"""Explanations of one model's decision on one clip: temporal masks, windows, exact masks, Grad-CAM."""
