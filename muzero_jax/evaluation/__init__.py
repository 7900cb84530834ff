"""How good an agent is: whole games, their statistics, scores of a run and of several runs
together, a video.
"""
