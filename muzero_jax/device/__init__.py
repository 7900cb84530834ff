"""The devices: one-device functions mapped over all of them, and ties of order between what runs
there.
"""
