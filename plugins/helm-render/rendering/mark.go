package rendering

import (
	"fmt"
	"path"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
)

// The functions that are put into the templates: the first says from which line
// what follows comes, the second is in the bodies of `define`, whose text may
// be changed before it is written. The third counts what an action writes, the
// fourth puts the same into a text that is a template itself.
const (
	lineFunction  = "airgapLine"
	countFunction = "airgapCount"
	wroteFunction = "airgapWrote"
	textFunction  = "airgapText"
)

// Bytes that a chart may write, and passes through its texts, which bounds what
// is repeated without being written.
const (
	mostBytes  = 32 << 20
	mostPasses = 20_000_000
)

// meter counts what templates write, and says from where it comes.
type meter struct {
	names   []string
	bytes   int
	passes  int
	exceeds *Problem
	// Whether the places are written into the text.
	isMarking bool
	// Texts that are templates, by what they are with their functions put in.
	texts map[text]string
}

// text is a template in a value, and the place that renders it.
type text struct {
	source     string
	name, line int
}

// Between these bytes stands the number of a line. No YAML holds them.
const (
	markBegin = "\x02"
	markEnd   = "\x03"
)

func (m *meter) functions() template.FuncMap {
	return template.FuncMap{
		lineFunction: func(name, line, bytes int) (string, error) {
			err := m.count(name, line, bytes)
			if err != nil || !m.isMarking {
				return "", err
			}
			return markBegin + strconv.Itoa(line) + markEnd, nil
		},
		countFunction: func(name, line, bytes int) (string, error) {
			return "", m.count(name, line, bytes)
		},
		// As it comes: how a value is printed depends on where it lies.
		wroteFunction: func(name, line int, value reflect.Value) (reflect.Value, error) {
			return value, m.count(name, line, lengthOf(value))
		},
		textFunction: func(name, line int, value any) any {
			if source, is := value.(string); is {
				return m.markedText(text{source, name, line})
			}
			return value
		},
	}
}

// lengthOf is how many bytes a value is as text.
func lengthOf(value reflect.Value) int {
	switch value.Kind() {
	case reflect.Invalid, reflect.Bool:
		return 0
	case reflect.String:
		return value.Len()
	case reflect.Map, reflect.Slice, reflect.Array, reflect.Struct, reflect.Pointer, reflect.Interface:
		counted := counter(0)
		if value.CanInterface() {
			fmt.Fprint(&counted, value.Interface())
		}
		return int(counted)
	}
	return 8
}

// counter is a writer that keeps nothing.
type counter int

func (c *counter) Write(bytes []byte) (int, error) {
	*c += counter(len(bytes))
	return len(bytes), nil
}

func (m *meter) count(name, line, bytes int) error {
	m.bytes += bytes
	m.passes++
	if m.bytes <= mostBytes && m.passes <= mostPasses {
		return nil
	}
	if m.exceeds == nil {
		m.exceeds = &Problem{Template: m.names[name], Line: line, Message: fmt.Sprintf(
			"it writes more than %d MiB, or repeats itself more than %d times", mostBytes>>20, mostPasses)}
	}
	return fmt.Errorf("%s", m.exceeds.Message)
}

// marked is a template in which every line of text is counted. One that does not
// parse is left as it is: Helm says what is wrong with it.
func (m *meter) marked(name, source string) string {
	trees := map[string]*parse.Tree{}
	reader := parse.New(name)
	reader.Mode = parse.SkipFuncCheck
	if _, err := reader.Parse(source, "", "", trees); err != nil {
		return source
	}
	m.names = append(m.names, name)
	isPartial := strings.HasPrefix(path.Base(name), "_")
	var marks []mark
	for key, tree := range trees {
		// What is empty does not take the place of another definition.
		if parse.IsEmptyTree(tree.Root) || key == name && isPartial {
			continue
		}
		function := countFunction
		if key == name {
			function = lineFunction
		}
		marks = append(marks, marksOf(tree.Root, source, function)...)
	}
	return spliced(source, marks, len(m.names)-1, 0)
}

// markedText is the same of a text, all of which comes from the line that renders
// it.
func (m *meter) markedText(of text) string {
	if !strings.Contains(of.source, "{{") {
		return of.source
	}
	if known, is := m.texts[of]; is {
		return known
	}
	trees := map[string]*parse.Tree{}
	reader := parse.New("text")
	reader.Mode = parse.SkipFuncCheck
	marked := of.source
	if _, err := reader.Parse(of.source, "", "", trees); err == nil {
		var marks []mark
		for _, tree := range trees {
			if !parse.IsEmptyTree(tree.Root) {
				marks = append(marks, marksOf(tree.Root, of.source, countFunction)...)
			}
		}
		marked = spliced(of.source, marks, of.name, of.line)
	}
	if m.texts == nil {
		m.texts = map[text]string{}
	}
	m.texts[of] = marked
	return marked
}

// mark is what is put in at a place in a source, told which template it is and
// which line.
type mark struct {
	at   int
	text func(name, line int) string
}

func called(function string, bytes int) func(name, line int) string {
	return func(name, line int) string { return fmt.Sprintf("{{%s %d %d %d}}", function, name, line, bytes) }
}

// marksOf are the places where text begins, and its lines; where an action that
// writes ends; and the texts that are rendered.
func marksOf(node parse.Node, source, function string) []mark {
	var marks []mark
	walk(node, func(node parse.Node) {
		switch node := node.(type) {
		case *parse.TextNode:
			marks = append(marks, linesIn(node, source, function)...)
		case *parse.IdentifierNode:
			if begin, end, is := renders(source, int(node.Pos), node.Ident); is {
				open := func(name, line int) string { return fmt.Sprintf("(%s %d %d ", textFunction, name, line) }
				marks = append(marks, mark{begin, open}, mark{end, func(int, int) string { return ")" }})
			}
		case *parse.ActionNode:
			if len(node.Pipe.Decl) > 0 {
				return
			}
			if end, is := endOf(source, int(node.Pos)); is {
				wrote := func(name, line int) string { return fmt.Sprintf("|%s %d %d", wroteFunction, name, line) }
				marks = append(marks, mark{end, wrote})
			}
		}
	})
	return marks
}

func linesIn(text *parse.TextNode, source, function string) []mark {
	var marks []mark
	at, kept := int(text.Pos), string(text.Text)
	if at+len(kept) > len(source) || source[at:at+len(kept)] != kept {
		return nil
	}
	for {
		line := strings.IndexByte(kept, '\n') + 1
		if line == 0 {
			line = len(kept)
		}
		marks = append(marks, mark{at, called(function, line)})
		at, kept = at+line, kept[line:]
		if kept == "" {
			break
		}
	}
	if strings.HasSuffix(string(text.Text), "\n") {
		marks = append(marks, mark{at, called(function, 0)})
	}
	return marks
}

// walk visits a node and all below it, what is innermost first.
func walk(node parse.Node, each func(parse.Node)) {
	branch := func(of *parse.BranchNode) {
		walk(of.Pipe, each)
		for _, list := range []*parse.ListNode{of.List, of.ElseList} {
			if list != nil {
				walk(list, each)
			}
		}
	}
	switch node := node.(type) {
	case *parse.ListNode:
		for _, inner := range node.Nodes {
			walk(inner, each)
		}
	case *parse.IfNode:
		branch(&node.BranchNode)
	case *parse.RangeNode:
		branch(&node.BranchNode)
	case *parse.WithNode:
		branch(&node.BranchNode)
	case *parse.ActionNode:
		walk(node.Pipe, each)
	case *parse.TemplateNode:
		if node.Pipe != nil {
			walk(node.Pipe, each)
		}
	case *parse.PipeNode:
		for _, command := range node.Cmds {
			walk(command, each)
		}
	case *parse.CommandNode:
		for _, argument := range node.Args {
			walk(argument, each)
		}
	case *parse.ChainNode:
		walk(node.Node, each)
	}
	each(node)
}

// spliced puts the marks into a source. The line is the one where a mark stands, or
// `line` where that is not 0.
func spliced(source string, marks []mark, name, line int) string {
	// Those at one place stay in their order.
	sort.SliceStable(marks, func(a, b int) bool { return marks[a].at < marks[b].at })
	var out strings.Builder
	at, current := 0, 1
	for _, mark := range marks {
		text := source[at:mark.at]
		out.WriteString(text)
		current += strings.Count(text, "\n")
		where := line
		if where == 0 {
			where = current
		}
		out.WriteString(mark.text(name, where))
		at = mark.at
	}
	out.WriteString(source[at:])
	return out.String()
}

// unmarked takes the marks out of a text, and says for each of its lines from
// which line of the template it comes: 0 where no mark stands before it.
func unmarked(text string) (string, []int) {
	var out strings.Builder
	var lines []int
	current := 0
	for row := range strings.SplitSeq(text, "\n") {
		if len(lines) > 0 {
			out.WriteByte('\n')
		}
		first := 0
		for {
			before, after, isMarked := strings.Cut(row, markBegin)
			out.WriteString(before)
			if first == 0 && strings.TrimSpace(before) != "" {
				first = current
			}
			if !isMarked {
				break
			}
			number, rest, _ := strings.Cut(after, markEnd)
			if line, err := strconv.Atoi(number); err == nil {
				current = line
			}
			row = rest
		}
		if first == 0 {
			first = current
		}
		lines = append(lines, first)
	}
	return out.String(), lines
}
