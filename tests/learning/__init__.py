"""Does it learn?"""
