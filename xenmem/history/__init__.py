"""What a record over time says: the use of a VM as evidence for its size, and the trend of a daily number.

Pure functions over arrays. Knows neither files nor pools nor how answers are shown.
"""
