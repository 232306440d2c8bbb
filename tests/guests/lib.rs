//! Guests for the tests of the plugin host, one example each, named by what
//! they do. `plugins/build.sh` builds them into `target/test-guests`.
