"""Clean-label attacks on one test image, the target, which is to get the attacker's label.

Their poisons are training images of that label, changed within a budget; the attack sees
the target's image.
"""
