//! Components that cost a compiler much, made without a toolchain: one core
//! module, as bytes.

/// One function of nested decisions, some `bytes` long: what is known of each
/// value depends on the way there.
pub fn branchy(bytes: usize) -> Vec<u8> {
    // (if (local.get 0) (then (local.set 1 (i32.add (local.get 1) (local.get 2))))
    //  (else (local.set 2 (i32.sub (local.get 2) (local.get 1)))))
    // (br_if 0 (local.get 1))
    let step = [
        0x20, 0, 0x04, 0x40, 0x20, 1, 0x20, 2, 0x6a, 0x21, 1, 0x05, 0x20, 2, 0x20, 1, 0x6b, 0x21, 2, 0x0b, 0x20, 1,
        0x0d, 0,
    ];
    let mut body = vec![1, 3, 0x7f];
    (0..bytes / step.len()).for_each(|_| body.extend(step));
    body.push(0x0b);
    component(&module(&[body]))
}

/// So many functions, each as small as can be.
pub fn many_functions(count: usize) -> Vec<u8> {
    component(&module(&vec![vec![0, 0x0b]; count]))
}

fn component(module: &[u8]) -> Vec<u8> {
    [b"\0asm\x0d\0\x01\0".to_vec(), section(1, module)].concat()
}

fn module(bodies: &[Vec<u8>]) -> Vec<u8> {
    let types = [number(bodies.len()), vec![0; bodies.len()]].concat();
    let mut code = number(bodies.len());
    for body in bodies {
        code.extend(number(body.len()));
        code.extend(body);
    }
    [b"\0asm\x01\0\0\0".to_vec(), section(1, &[1, 0x60, 0, 0]), section(3, &types), section(10, &code)].concat()
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [vec![id], number(content.len()), content.to_vec()].concat()
}

/// LEB128.
fn number(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
