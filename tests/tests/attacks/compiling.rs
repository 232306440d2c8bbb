//! Before anything runs: a component that is long to compile, a description
//! without end, a schema that unfolds. It happens at `plugin inspect` and
//! `plugin add` already, to somebody who only wants to look.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use airgap_tests::project::{Project, Run};
use airgap_tests::step_component::{self as component, Said};
use serde_json::{Value, json};
use wasm_encoder::{
    BlockType, CodeSection, ExportKind, ExportSection, Function, FunctionSection, Instruction, MemorySection,
    MemoryType, Module, TypeSection, ValType,
};

use crate::arena::Arena;

/// What looking at a component may take under a limit of seconds.
const LONG: Duration = Duration::from_secs(40);

/// A project with a component to look at, and an empty cache of compiled ones.
fn looked_at(component: &[u8], settings: &Value) -> Project {
    let project = Project::new().with_settings(|all| all["plugins"] = settings.clone());
    let cache = project.path("cache").to_string_lossy().into_owned();
    project.write("plugins/made.wasm", component);
    project.with_env("XDG_CACHE_HOME", cache)
}

fn tight() -> Value {
    json!({ "compile_mib": 512, "compile_seconds": 2 })
}

#[track_caller]
fn refused(component: &[u8], settings: &Value, says: &[&str]) -> Run {
    let project = looked_at(component, settings);
    let running = project.start(&["plugin", "add", "plugins/made.wasm", "--name", "made"]);
    let run = running.finish_within(LONG);
    assert!(matches!(run.status.code(), Some(1 | 3)), "a refusal is expected of\n{run}");
    assert!(!project.exists("config/plugins.lock"), "it was pinned: {run}");
    run.says(says).never_says("panicked at host/").never_says("\u{1b}")
}

/// Without this the others would pass in a host that takes no component.
#[test]
fn an_honest_component_is_added() {
    let Some(_arena) = Arena::enter() else { return };
    let project = looked_at(&component::component(&Said::default(), component::many(100)), &tight());
    project.run(&["plugin", "add", "plugins/made.wasm", "--name", "made"]).success();
    project.run(&["plugin", "inspect", "made"]).success().prints(&["Made for a test."]);
}

#[test]
fn no_branchy_function_is_compiled_without_end() {
    let Some(_arena) = Arena::enter() else { return };
    for mib in [1, 4] {
        let component = component::component(&Said::default(), vec![component::branchy(mib << 20)]);
        refused(&component, &tight(), &["made", "plugins.compile_"]);
    }
}

#[test]
fn no_hundred_thousand_functions_are_compiled_without_end() {
    let Some(_arena) = Arena::enter() else { return };
    let component = component::component(&Said::default(), component::many(400_000));
    refused(&component, &json!({ "compile_mib": 256, "compile_seconds": 1 }), &["made", "plugins.compile_"]);
}

#[test]
fn nothing_too_large_is_read() {
    let Some(_arena) = Arena::enter() else { return };
    let mut component = component::component(&Said::default(), Vec::new());
    component.resize(65 << 20, 0);
    refused(&component, &tight(), &["made", "larger than"]);
    refused(b"\0asm\x0d\0\x01\0rubbish", &tight(), &["made"]);
    refused(b"", &tight(), &["made"]);
    let whole = component::component(&Said::default(), Vec::new());
    refused(&whole[..whole.len() / 2], &tight(), &["made"]);
}

/// A component in a component in a component.
#[test]
fn no_nesting_overflows_a_stack() {
    let Some(_arena) = Arena::enter() else { return };
    const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";
    let mut nested = COMPONENT.to_vec();
    for _ in 0..5_000 {
        let mut outer = COMPONENT.to_vec();
        // The section of a component, and its length.
        outer.push(4);
        let mut length = nested.len();
        while length >= 0x80 {
            outer.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
            length >>= 7;
        }
        outer.push(u8::try_from(length).expect("seven bits"));
        outer.extend_from_slice(&nested);
        nested = outer;
    }
    refused(&nested, &tight(), &["made"]);
}

#[test]
fn compiling_ends_with_the_interruption() {
    let Some(_arena) = Arena::enter() else { return };
    let component = component::component(&Said::default(), vec![component::branchy(2 << 20)]);
    let project = looked_at(&component, &json!({}));
    let running = project.start(&["plugin", "inspect", "plugins/made.wasm"]);
    await_compiler();
    let sent = Instant::now();
    running.signal("INT");
    let run = running.finish_within(LONG);
    let status = run.status;
    assert!(status.code() == Some(130) || status.signal() == Some(2), "{run}");
    assert!(sent.elapsed() < Duration::from_secs(2), "{:?}", sent.elapsed());
}

/// Nothing compiles on when the one who asked is gone.
#[test]
fn no_compiler_survives_its_host() {
    let Some(_arena) = Arena::enter() else { return };
    let component = component::component(&Said::default(), vec![component::branchy(2 << 20)]);
    let project = looked_at(&component, &json!({}));
    let running = project.start(&["plugin", "inspect", "plugins/made.wasm"]);
    await_compiler();
    running.kill();
    let deadline = Instant::now() + Duration::from_secs(2);
    while !compilers().is_empty() {
        assert!(Instant::now() < deadline, "{:?}", compilers());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Returns once a compiler has worked for a while.
fn await_compiler() {
    let deadline = Instant::now() + LONG;
    while !compilers().iter().any(|ticks| *ticks >= 20) {
        assert!(Instant::now() < deadline, "nothing compiles: {:?}", compilers());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The compilers that work here, each with its ticks on a processor: a
/// hundredth of a second.
fn compilers() -> Vec<u64> {
    let own = std::fs::read_link("/proc/self/ns/net").expect("a namespace of the network");
    let read = |entry: std::fs::DirEntry| {
        let of = |name: &str| std::fs::read_to_string(entry.path().join(name)).ok();
        let is_here = std::fs::read_link(entry.path().join("ns/net")).is_ok_and(|namespace| namespace == own);
        let is_compiler = of("cmdline")?.contains("__worker");
        // What stands behind the name of the program, which may hold blanks.
        let (_, status) = of("stat")?.rsplit_once(')').map(|(name, rest)| (name.to_owned(), rest.to_owned()))?;
        let numbers: Vec<u64> = status.split_whitespace().skip(11).take(2).filter_map(|it| it.parse().ok()).collect();
        (is_here && is_compiler).then(|| numbers.iter().sum())
    };
    std::fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(read).collect()
}

fn with_schema(schema: String) -> Vec<u8> {
    component::component(&Said { schema, ..Said::default() }, Vec::new())
}

#[test]
fn no_schema_unfolds_without_end() {
    let Some(_arena) = Arena::enter() else { return };
    // Within the bytes that a schema may have: what it unfolds to is what counts.
    let words: Vec<String> = (0..8_000).map(|number| format!("word-{number}")).collect();
    let properties: serde_json::Map<String, Value> =
        (0..3_000).map(|number| (format!("p{number}"), json!({ "$ref": "#/$defs/a" }))).collect();
    let wide = json!({ "$defs": { "a": { "enum": words } }, "properties": properties });
    let mut doubling = json!({ "type": "object" });
    let mut definitions = serde_json::Map::new();
    for number in 0..60 {
        let next = json!({ "$ref": format!("#/$defs/d{}", number + 1) });
        definitions.insert(format!("d{number}"), json!({ "anyOf": [next, next], "allOf": [next, next] }));
    }
    definitions.insert("d60".to_owned(), json!({ "type": "string" }));
    doubling["$defs"] = Value::Object(definitions);
    doubling["$ref"] = json!("#/$defs/d0");
    let deep = format!("{}{{}}{}", "{\"not\":".repeat(20_000), "}".repeat(20_000));
    let round = r##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}"##;
    for schema in [wide.to_string(), doubling.to_string(), deep, round.to_owned()] {
        checks_within_bounds(&with_schema(schema));
    }
}

/// Whatever the verdict: it is given soon, with little memory.
#[track_caller]
fn checks_within_bounds(component: &[u8]) {
    let project = looked_at(component, &json!({}));
    let pins = json!({ "format": 1, "plugins": { "made": {
        "path": "plugins/made.wasm", "sha256": airgap_tests::digest::sha256(component) } } });
    project.write("config/plugins.lock", pins.to_string());
    let configuration: serde_json::Map<String, Value> =
        (0..3_000).map(|number| (format!("p{number}"), json!("no"))).collect();
    let step = json!({ "id": "made", "name": "m", "run": { "plugin": "made" }, "needs": ["config"],
        "on_failure": "roll-back", "configuration": configuration });
    let config = json!({ "id": "config", "name": "c", "run": { "host": "config" }, "on_failure": "roll-back" });
    project.write("config/pipeline.yaml", json!({ "steps": [config, step] }).to_string());
    for arguments in [&["plugin", "inspect", "made"][..], &["build"]] {
        let inner = project.command(arguments);
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "ulimit -d 1500000 && exec \"$0\" \"$@\""]).arg(inner.get_program()).args(inner.get_args());
        command.env_clear().current_dir(project.root());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let run = airgap_tests::project::Running::spawn(&mut command, project.root()).finish_within(LONG);
        assert!(matches!(run.status.code(), Some(0 | 1 | 3)), "{}", run.status);
        assert!(run.stdout.len() + run.stderr.len() < 8 << 20);
    }
}

#[test]
fn no_schema_is_larger_than_its_limit() {
    let Some(_arena) = Arena::enter() else { return };
    let schema = json!({ "description": "x".repeat(100_000) }).to_string();
    refused(&with_schema(schema), &json!({ "schema_kib": 64 }), &["made", "plugins.schema_kib"]);
    refused(&with_schema("no JSON".to_owned()), &json!({}), &["made", "JSON"]);
}

#[test]
fn no_description_takes_without_end() {
    let Some(_arena) = Arena::enter() else { return };
    let mut spins = Function::new([]);
    spins
        .instruction(&Instruction::Loop(BlockType::Empty))
        .instruction(&Instruction::Br(0))
        .instruction(&Instruction::End)
        .instruction(&Instruction::I32Const(0))
        .instruction(&Instruction::End);
    refused(&component::describing(spins), &json!({ "time_limit": 1 }), &["made"]);
    let mut grows = Function::new([]);
    grows
        .instruction(&Instruction::I32Const(20_000))
        .instruction(&Instruction::MemoryGrow(0))
        .instruction(&Instruction::I32Const(-1))
        .instruction(&Instruction::I32Eq)
        .instruction(&Instruction::If(BlockType::Empty))
        .instruction(&Instruction::Unreachable)
        .instruction(&Instruction::End)
        .instruction(&Instruction::I32Const(1024))
        .instruction(&Instruction::End);
    refused(&component::describing(grows), &json!({ "memory_mib": 64 }), &["made"]);
    refused(&component::describing(component::trap()), &json!({}), &["made"]);
    refused(&component::with_pages(60_000), &json!({ "memory_mib": 64 }), &["made"]);
    let mut wild = Function::new([]);
    wild.instruction(&Instruction::I32Const(-16)).instruction(&Instruction::End);
    refused(&component::describing(wild), &json!({}), &["made"]);
}

#[test]
fn no_description_wants_without_end() {
    let Some(_arena) = Arena::enter() else { return };
    let wants = (0..2_000).map(|number| format!("https://example.com/{number}/")).collect();
    refused(&component::component(&Said { wants, ..Said::default() }, Vec::new()), &json!({}), &["made", "wants"]);
}

/// Features of WebAssembly that no guest of Rust, Python or Go needs: what is
/// off can not be attacked.
#[test]
fn no_feature_is_on_that_no_guest_needs() {
    let Some(_arena) = Arena::enter() else { return };
    for (feature, module) in features() {
        let run = refused(&component::wrapped(&module), &json!({}), &["made"]);
        assert!(run.stderr.len() < 4_000, "{feature}: {run}");
    }
}

fn features() -> Vec<(&'static str, Module)> {
    use Instruction::{Drop, I64Const, I64MulWideU, RefNull, ReturnCall};
    let heap = wasm_encoder::HeapType::Concrete(0);
    vec![
        ("tail calls", of_feature(&[], None, &[ReturnCall(0)])),
        (
            "garbage collection",
            of_feature(&[Extra::Struct], None, &[RefNull(wasm_encoder::HeapType::Concrete(1)), Drop]),
        ),
        ("function references", of_feature(&[], None, &[RefNull(heap), Drop])),
        ("exceptions", of_feature(&[Extra::Tag], None, &[Instruction::Throw(0)])),
        ("64-bit memory", of_feature(&[], Some(|memory| memory.memory64 = true), &[])),
        (
            "threads",
            of_feature(
                &[],
                Some(|memory| {
                    memory.shared = true;
                    memory.maximum = Some(2);
                }),
                &[],
            ),
        ),
        ("custom page sizes", of_feature(&[], Some(|memory| memory.page_size_log2 = Some(0)), &[])),
        ("wide arithmetic", of_feature(&[], None, &[I64Const(1), I64Const(1), I64MulWideU, Drop, Drop])),
    ]
}

#[derive(PartialEq)]
enum Extra {
    Struct,
    Tag,
}

/// A step one of whose functions, or whose second memory, uses a feature.
fn of_feature(extra: &[Extra], memory: Option<fn(&mut MemoryType)>, body: &[Instruction<'_>]) -> Module {
    let mut types = TypeSection::new();
    types.ty().function([], [ValType::I32]);
    if extra.contains(&Extra::Struct) {
        types.ty().struct_([]);
    }
    let empty = types.len();
    types.ty().function([], []);
    let run = types.len();
    let mut parameters = vec![ValType::I32; 13];
    parameters[5] = ValType::I64;
    types.ty().function(parameters, [ValType::I32]);
    let realloc = types.len();
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    let mut functions = FunctionSection::new();
    let mut code = CodeSection::new();
    let mut using = Function::new([]);
    body.iter().for_each(|instruction| {
        using.instruction(instruction);
    });
    using.instruction(&Instruction::Unreachable).instruction(&Instruction::End);
    for (kind, function) in [(0, using), (run, component::trap()), (realloc, component::trap())] {
        functions.function(kind);
        code.function(&function);
    }
    let mut memories = MemorySection::new();
    let mut plain = MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None };
    memories.memory(plain);
    if let Some(change) = memory {
        change(&mut plain);
        memories.memory(plain);
    }
    let mut exports = ExportSection::new();
    exports.export("opencenter:airgap/step@1.1.0#describe", ExportKind::Func, 0);
    exports.export("opencenter:airgap/step@1.1.0#run", ExportKind::Func, 1);
    exports.export("cabi_realloc", ExportKind::Func, 2).export("memory", ExportKind::Memory, 0);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories);
    if extra.contains(&Extra::Tag) {
        let mut tags = wasm_encoder::TagSection::new();
        tags.tag(wasm_encoder::TagType { kind: wasm_encoder::TagKind::Exception, func_type_idx: empty });
        module.section(&tags);
    }
    module.section(&exports).section(&code);
    module
}
