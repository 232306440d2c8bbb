//! The events of a YAML text, by libyaml's scanner, which Go's is a port of.
//!
//! It is the scanner under `serde_yaml` too. Its interface is that of the C
//! library; all that is unsafe about it is in this file.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::slice;

use unsafe_libyaml_norway as unsafe_sys;

/// What the scanner came across.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// From 1.
    pub(crate) line: u32,
    /// The bytes that it was read from.
    pub(crate) span: Range<usize>,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    StreamEnd,
    /// With what its `%YAML` says.
    DocumentStart {
        version: Option<(i32, i32)>,
    },
    DocumentEnd,
    Scalar(Scalar),
    ListStart {
        anchor: Option<String>,
    },
    MapStart {
        anchor: Option<String>,
    },
    ListEnd,
    MapEnd,
    Alias {
        anchor: String,
    },
    /// Where the stream starts.
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scalar {
    pub(crate) anchor: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) text: String,
    pub(crate) style: Style,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    /// Literal or folded.
    Block,
}

/// Where the scanner could not go on, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// From 1.
    pub(crate) line: u32,
    pub(crate) message: String,
}

/// Reads a text event by event.
pub(crate) struct Events<'a> {
    /// In a place of its own: it points to itself and into the text.
    parser: Box<MaybeUninit<unsafe_sys::yaml_parser_t>>,
    problem: Option<Problem>,
    text: PhantomData<&'a [u8]>,
}

impl<'a> Events<'a> {
    /// Of a text in UTF-8 without byte order mark.
    pub(crate) fn of(text: &'a [u8]) -> Self {
        let mut parser = Box::new(MaybeUninit::uninit());
        #[allow(unsafe_code, reason = "the parser stays in its box, and the text outlives it")]
        let started = unsafe {
            let parser: *mut unsafe_sys::yaml_parser_t = parser.as_mut_ptr();
            let started = unsafe_sys::yaml_parser_initialize(parser).ok;
            if started {
                unsafe_sys::yaml_parser_set_encoding(parser, unsafe_sys::YAML_UTF8_ENCODING);
                unsafe_sys::yaml_parser_set_input_string(parser, text.as_ptr(), text.len() as u64);
            }
            started
        };
        assert!(started, "there is no memory for a parser of YAML");
        Self { parser, problem: None, text: PhantomData }
    }

    /// The next event. Behind the end of the stream there is no more.
    pub(crate) fn next(&mut self) -> Result<Event, Problem> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        let mut event = MaybeUninit::uninit();
        #[allow(
            unsafe_code,
            reason = "the parser was initialised, and the event is read where parsing says that it is"
        )]
        let read = unsafe {
            let parser = self.parser.as_mut_ptr();
            if unsafe_sys::yaml_parser_parse(parser, event.as_mut_ptr()).ok {
                let read = converted(event.assume_init_ref());
                unsafe_sys::yaml_event_delete(event.as_mut_ptr());
                Ok(read)
            } else {
                Err(problem(&*parser))
            }
        };
        read.inspect_err(|problem| self.problem = Some(problem.clone()))
    }
}

impl Drop for Events<'_> {
    fn drop(&mut self) {
        #[allow(unsafe_code, reason = "it was initialised, and nothing uses it any more")]
        unsafe {
            unsafe_sys::yaml_parser_delete(self.parser.as_mut_ptr());
        }
    }
}

/// Lines count from 1.
fn line_of(mark: unsafe_sys::yaml_mark_t) -> u32 {
    u32::try_from(mark.line).unwrap_or(u32::MAX).saturating_add(1)
}

#[allow(unsafe_code, reason = "messages are constants of the scanner, or null")]
fn problem(parser: &unsafe_sys::yaml_parser_t) -> Problem {
    let message = unsafe { text_at(parser.problem.cast()) };
    // A text that is no UTF-8 has an offset, and no line.
    Problem { line: line_of(parser.problem_mark), message: message.unwrap_or_else(|| "it can not be read".to_owned()) }
}

#[allow(unsafe_code, reason = "which member of the union is valid, the event's type says")]
fn converted(event: &unsafe_sys::yaml_event_t) -> Event {
    let kind = unsafe {
        match event.type_ {
            unsafe_sys::YAML_STREAM_END_EVENT => Kind::StreamEnd,
            unsafe_sys::YAML_DOCUMENT_START_EVENT => {
                let version = event.data.document_start.version_directive.as_ref();
                Kind::DocumentStart { version: version.map(|version| (version.major, version.minor)) }
            }
            unsafe_sys::YAML_DOCUMENT_END_EVENT => Kind::DocumentEnd,
            unsafe_sys::YAML_SEQUENCE_END_EVENT => Kind::ListEnd,
            unsafe_sys::YAML_MAPPING_END_EVENT => Kind::MapEnd,
            unsafe_sys::YAML_SEQUENCE_START_EVENT => {
                Kind::ListStart { anchor: text_at(event.data.sequence_start.anchor) }
            }
            unsafe_sys::YAML_MAPPING_START_EVENT => Kind::MapStart { anchor: text_at(event.data.mapping_start.anchor) },
            unsafe_sys::YAML_ALIAS_EVENT => {
                Kind::Alias { anchor: text_at(event.data.alias.anchor).unwrap_or_default() }
            }
            unsafe_sys::YAML_SCALAR_EVENT => {
                let scalar = &event.data.scalar;
                let bytes = slice::from_raw_parts(scalar.value, usize::try_from(scalar.length).unwrap_or(0));
                Kind::Scalar(Scalar {
                    anchor: text_at(scalar.anchor),
                    tag: text_at(scalar.tag),
                    text: String::from_utf8_lossy(bytes).into_owned(),
                    style: style(scalar.style),
                })
            }
            _ => Kind::Other,
        }
    };
    let offset = |mark: unsafe_sys::yaml_mark_t| usize::try_from(mark.index).unwrap_or(usize::MAX);
    Event { line: line_of(event.start_mark), span: offset(event.start_mark)..offset(event.end_mark), kind }
}

fn style(style: unsafe_sys::yaml_scalar_style_t) -> Style {
    match style {
        unsafe_sys::YAML_SINGLE_QUOTED_SCALAR_STYLE => Style::SingleQuoted,
        unsafe_sys::YAML_DOUBLE_QUOTED_SCALAR_STYLE => Style::DoubleQuoted,
        unsafe_sys::YAML_LITERAL_SCALAR_STYLE | unsafe_sys::YAML_FOLDED_SCALAR_STYLE => Style::Block,
        _ => Style::Plain,
    }
}

/// # Safety
/// `text` is null, or ends with a zero.
#[allow(unsafe_code, reason = "as its callers have it from the scanner")]
unsafe fn text_at(text: *const u8) -> Option<String> {
    let text = (!text.is_null()).then(|| unsafe { CStr::from_ptr(text.cast()) })?;
    Some(text.to_string_lossy().into_owned())
}
