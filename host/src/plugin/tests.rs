//! Guests that misbehave, through the real runtime.
