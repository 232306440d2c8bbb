package rendering

import "strings"

// What of a template's source an action is made of, read as text/template reads it.

const blanks = " \t\r\n"

// endOf is the end of an action's pipeline, from a place in it.
func endOf(source string, at int) (int, bool) {
	for at < len(source) {
		if strings.HasPrefix(source[at:], "}}") {
			return trimmed(source, at), true
		}
		next, is := pastOne(source, at)
		if !is {
			return 0, false
		}
		at = next
	}
	return 0, false
}

// trimmed is where what stands before `}}` ends, without blanks and the sign that
// trims.
func trimmed(source string, at int) int {
	inner := source[:at]
	if before, is := strings.CutSuffix(inner, "-"); is && strings.TrimRight(before, blanks) != before {
		inner = before
	}
	return len(strings.TrimRight(inner, blanks))
}

// renders says where the text stands that a call of `tpl` renders: its first
// argument.
func renders(source string, at int, function string) (begin, end int, is bool) {
	if function != "tpl" || !strings.HasPrefix(source[at:], function) {
		return 0, 0, false
	}
	rest := source[at+len(function):]
	begin = len(source) - len(strings.TrimLeft(rest, blanks))
	end = begin
	for end < len(source) && !strings.ContainsRune(blanks+")|}", rune(source[end])) {
		if end, is = pastOne(source, end); !is {
			return 0, 0, false
		}
	}
	return begin, end, end > begin
}

// pastOne is the place behind a character, a text in quotes, or what stands in
// parentheses.
func pastOne(source string, at int) (int, bool) {
	switch first := source[at]; first {
	case '`':
		end := strings.IndexByte(source[at+1:], '`')
		return at + end + 2, end >= 0
	case '"', '\'':
		for at++; at < len(source) && source[at] != first; at++ {
			if source[at] == '\\' {
				at++
			}
		}
		return at + 1, at < len(source)
	case '(':
		for at++; at < len(source) && source[at] != ')'; {
			next, is := pastOne(source, at)
			if !is {
				return 0, false
			}
			at = next
		}
		return at + 1, at < len(source)
	}
	return at + 1, true
}
