//! The only place that opens sockets.

/// Everything that fetches over the network.
#[derive(Debug)]
pub struct Network;
