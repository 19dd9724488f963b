"""tfser: five speech emotion recognition systems, each faithful to its paper."""
