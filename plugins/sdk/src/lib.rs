//! Write a build step in some twenty lines.
wit_bindgen::generate!({ path: "../../wit", world: "build-step", generate_all, pub_export_macro: true });
