//! Components that no compiler makes: steps by their exports, with whatever
//! description, code or feature is wanted.

use std::path::Path;

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataSection, ExportKind, ExportSection, Function, FunctionSection, Instruction,
    MemorySection, MemoryType, Module, TypeSection, ValType,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What a component says about itself.
#[derive(Clone, Debug)]
pub struct Said {
    pub name: String,
    pub version: String,
    pub summary: String,
    pub schema: String,
    /// Prefixes that it would like to fetch below.
    pub wants: Vec<String>,
}

impl Default for Said {
    fn default() -> Self {
        Self {
            name: "made".into(),
            version: "1.0.0".into(),
            summary: "Made for a test.".into(),
            schema: "{}".into(),
            wants: Vec::new(),
        }
    }
}

/// The exports of a step, as the canonical ABI names them.
const DESCRIBE: &str = "opencenter:airgap/step@1.1.0#describe";
const RUN: &str = "opencenter:airgap/step@1.1.0#run";

/// Where the description lies in the component's memory.
const AT: u32 = 1024;

/// A component that describes itself so, traps when it runs, and has `ballast`
/// to be compiled.
pub fn component(said: &Said, ballast: Vec<Function>) -> Vec<u8> {
    wrapped(&core_module(said, ballast, 0, None))
}

/// The same with a memory of so many pages to begin with.
pub fn with_pages(pages: u64) -> Vec<u8> {
    wrapped(&core_module(&Said::default(), Vec::new(), pages, None))
}

/// The same whose `describe` is this function.
pub fn describing(describe: Function) -> Vec<u8> {
    wrapped(&core_module(&Said::default(), Vec::new(), 0, Some(describe)))
}

/// A core module as a component of a step.
pub fn wrapped(module: &Module) -> Vec<u8> {
    let mut bytes = module.clone().finish();
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let (package, _) = resolve.push_path(wit).expect("wit/ is sound");
    let world = resolve.select_world(&[package], Some("build-step")).expect("the world of a step");
    embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8, false).expect("a world to embed");
    let mut encoder = ComponentEncoder::default();
    encoder.validate(false).module(&bytes).expect("a module of that world");
    encoder.encode().expect("a component")
}

fn core_module(said: &Said, ballast: Vec<Function>, pages: u64, describe: Option<Function>) -> Module {
    let (data, size) = description(said);
    let mut types = TypeSection::new();
    types.ty().function([], [ValType::I32]);
    // context, configuration, inputs, output; see wit/airgap.wit.
    let mut run = vec![ValType::I32; 13];
    run[5] = ValType::I64;
    types.ty().function(run, [ValType::I32]);
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    types.ty().function([ValType::I32; 2], [ValType::I32]);

    let mut functions = FunctionSection::new();
    let mut code = CodeSection::new();
    let said_so = || {
        let mut describe = Function::new([]);
        describe.instruction(&Instruction::I32Const(AT.cast_signed())).instruction(&Instruction::End);
        describe
    };
    for (kind, function) in [(0, describe.unwrap_or_else(said_so)), (1, trap()), (2, trap())] {
        functions.function(kind);
        code.function(&function);
    }
    for function in &ballast {
        functions.function(3);
        code.function(function);
    }
    let mut memories = MemorySection::new();
    let minimum = pages.max(u64::from(size / 65_536 + 1));
    memories.memory(MemoryType { minimum, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut exports = ExportSection::new();
    exports.export(DESCRIBE, ExportKind::Func, 0).export(RUN, ExportKind::Func, 1);
    exports.export("cabi_realloc", ExportKind::Func, 2).export("memory", ExportKind::Memory, 0);
    let mut contents = DataSection::new();
    contents.active(0, &ConstExpr::i32_const(AT.cast_signed()), data);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&exports).section(&code).section(&contents);
    module
}

pub fn trap() -> Function {
    let mut function = Function::new([]);
    function.instruction(&Instruction::Unreachable).instruction(&Instruction::End);
    function
}

/// The record `description` in memory, and where it ends: five pairs of
/// pointer and length, then the texts, then the list of wants.
fn description(said: &Said) -> (Vec<u8>, u32) {
    const HEAD: usize = 40;
    const WANT: usize = 12;
    let mut bytes = vec![0; HEAD + WANT * said.wants.len()];
    let put = |bytes: &mut Vec<u8>, place: usize, text: &str| {
        let pointer = AT + u32::try_from(bytes.len()).expect("a small memory");
        bytes.extend_from_slice(text.as_bytes());
        let length = u32::try_from(text.len()).expect("a small text");
        bytes[place..place + 4].copy_from_slice(&pointer.to_le_bytes());
        bytes[place + 4..place + 8].copy_from_slice(&length.to_le_bytes());
    };
    for (number, text) in [&said.name, &said.version, &said.summary, &said.schema].iter().enumerate() {
        put(&mut bytes, number * 8, text);
    }
    // A variant: its case, 0 for `fetch`, then the text.
    for (number, want) in said.wants.iter().enumerate() {
        put(&mut bytes, HEAD + number * WANT + 4, want);
    }
    let wants = u32::try_from(HEAD).expect("small") + AT;
    bytes[32..36].copy_from_slice(&wants.to_le_bytes());
    bytes[36..40].copy_from_slice(&u32::try_from(said.wants.len()).expect("few wants").to_le_bytes());
    let end = AT + u32::try_from(bytes.len()).expect("a small memory");
    (bytes, end)
}

/// One function of so many bytes that does nothing but branch: what a compiler
/// thinks longest about.
pub fn branchy(bytes: usize) -> Function {
    const LOCALS: u32 = 100;
    let mut function = Function::new([(LOCALS, ValType::I32)]);
    function.instruction(&Instruction::Loop(BlockType::Empty));
    let mut number = 0_u32;
    while function.byte_len() < bytes {
        number += 1;
        let [one, two, three] = [7, 31, 53].map(|step| 2 + (number * step) % LOCALS);
        function
            .instruction(&Instruction::LocalGet(one))
            .instruction(&Instruction::LocalGet(two))
            .instruction(&Instruction::I32Add)
            .instruction(&Instruction::LocalTee(three))
            .instruction(&Instruction::If(BlockType::Empty))
            .instruction(&Instruction::LocalGet(three))
            .instruction(&Instruction::LocalGet(one))
            .instruction(&Instruction::I32Mul)
            .instruction(&Instruction::LocalSet(two))
            .instruction(&Instruction::LocalGet(two))
            .instruction(&Instruction::BrIf(1))
            .instruction(&Instruction::End);
    }
    function.instruction(&Instruction::End).instruction(&Instruction::LocalGet(2)).instruction(&Instruction::End);
    function
}

/// So many functions that differ.
pub fn many(count: i32) -> Vec<Function> {
    let function = |number: i32| {
        let mut function = Function::new([]);
        function
            .instruction(&Instruction::LocalGet(0))
            .instruction(&Instruction::I32Const(number))
            .instruction(&Instruction::I32Add)
            .instruction(&Instruction::End);
        function
    };
    (0..count).map(function).collect()
}
