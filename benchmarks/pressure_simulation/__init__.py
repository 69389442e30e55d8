"""An hour of 5,000 made-up nodes: what the labeller does with it, and dynamicScheduler."""
