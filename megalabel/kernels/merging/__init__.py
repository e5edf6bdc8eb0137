"""Operations that merge rankings by a learned model: features of candidate labels, and boosted trees."""
