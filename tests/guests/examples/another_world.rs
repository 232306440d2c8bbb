//! Exports another world than that of a step.
#![allow(unsafe_code, missing_docs, reason = "generated code exports the functions")]

wit_bindgen::generate!({
    inline: "
        package acme:greeter@2.1.0;

        interface greet {
            greet: func(name: string) -> string;
        }

        world greeter {
            export greet;
        }
    ",
});

struct Greeter;

impl exports::acme::greeter::greet::Guest for Greeter {
    fn greet(name: String) -> String {
        format!("hello {name}")
    }
}

#[cfg(target_family = "wasm")]
export!(Greeter);
#[cfg(not(target_family = "wasm"))]
const _: fn(String) -> String = <Greeter as exports::acme::greeter::greet::Guest>::greet;
