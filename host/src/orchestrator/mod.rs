//! Which steps run, when, and what happens when one fails.
