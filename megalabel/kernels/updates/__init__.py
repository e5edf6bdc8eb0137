"""Update rules: SGD, Adam."""
