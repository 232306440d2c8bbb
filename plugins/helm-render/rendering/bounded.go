package rendering

import (
	"fmt"
	"reflect"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
)

// Of what one call of a function makes: bytes, numbers, and items of a list.
const (
	mostText    = 8 << 20
	mostNumbers = 1 << 20
	mostItems   = 100_000
)

// bounded are the functions of sprig that make much out of little, with a limit.
func bounded() template.FuncMap {
	all := sprig.TxtFuncMap()
	repeat := all["repeat"].(func(int, string) string)
	cat := all["cat"].(func(...any) string)
	replace := all["replace"].(func(string, string, string) string)
	indent := all["indent"].(func(int, string) string)
	nindent := all["nindent"].(func(int, string) string)
	until := all["until"].(func(int) []int)
	untilStep := all["untilStep"].(func(int, int, int) []int)
	concat := all["concat"].(func(...any) any)
	join := all["join"].(func(string, any) string)
	seq := all["seq"].(func(...int) string)
	return template.FuncMap{
		"repeat": func(count int, text string) (string, error) {
			if err := fits("repeat", count, len(text)); err != nil {
				return "", err
			}
			return repeat(count, text), nil
		},
		"printf": func(format string, values ...any) (string, error) {
			return short("printf", fmt.Sprintf(format, values...))
		},
		"print":   func(values ...any) (string, error) { return short("print", fmt.Sprint(values...)) },
		"println": func(values ...any) (string, error) { return short("println", fmt.Sprintln(values...)) },
		"cat":     func(values ...any) (string, error) { return short("cat", cat(values...)) },
		"replace": func(old, new, text string) (string, error) {
			if err := fits("replace", strings.Count(text, old), len(new)); err != nil {
				return "", err
			}
			return replace(old, new, text), nil
		},
		"indent":  indented("indent", indent),
		"nindent": indented("nindent", nindent),
		"concat": func(lists ...any) (any, error) {
			items := 0
			for _, list := range lists {
				if value := reflect.ValueOf(list); value.Kind() == reflect.Slice || value.Kind() == reflect.Array {
					items += value.Len()
				}
			}
			if items > mostItems {
				return nil, fmt.Errorf("`concat` makes a list of more than %d items", mostItems)
			}
			return concat(lists...), nil
		},
		"join": func(separator string, list any) (string, error) {
			if value := reflect.ValueOf(list); value.Kind() == reflect.Slice || value.Kind() == reflect.Array {
				length := 0
				for at := range value.Len() {
					length += len(separator) + len(fmt.Sprint(value.Index(at).Interface()))
					if err := fits("join", length, 1); err != nil {
						return "", err
					}
				}
			}
			return join(separator, list), nil
		},
		"seq": func(bounds ...int) (string, error) {
			start, step, end := 1, 1, 0
			switch len(bounds) {
			case 1:
				end = bounds[0]
			case 2:
				start, end = bounds[0], bounds[1]
			case 3:
				start, step, end = bounds[0], bounds[1], bounds[2]
			}
			if err := numbers("seq", start, end, step); err != nil {
				return "", err
			}
			return seq(bounds...), nil
		},
		"randAlphaNum": random("randAlphaNum", all),
		"randAlpha":    random("randAlpha", all),
		"randAscii":    random("randAscii", all),
		"randNumeric":  random("randNumeric", all),
		"randBytes": func(count int) (string, error) {
			if err := fits("randBytes", count, 1); err != nil {
				return "", err
			}
			return all["randBytes"].(func(int) (string, error))(count)
		},
		"until": func(count int) ([]int, error) {
			if err := numbers("until", 0, count, 1); err != nil {
				return nil, err
			}
			return until(count), nil
		},
		"untilStep": func(start, stop, step int) ([]int, error) {
			if err := numbers("untilStep", start, stop, step); err != nil {
				return nil, err
			}
			return untilStep(start, stop, step), nil
		},
	}
}

func random(name string, all template.FuncMap) func(int) (string, error) {
	made := all[name].(func(int) string)
	return func(count int) (string, error) {
		if err := fits(name, count, 1); err != nil {
			return "", err
		}
		return made(count), nil
	}
}

func indented(name string, indent func(int, string) string) func(int, string) (string, error) {
	return func(spaces int, text string) (string, error) {
		lines := 1
		for at := range len(text) {
			if text[at] == '\n' {
				lines++
			}
		}
		if err := fits(name, spaces, lines); err != nil {
			return "", err
		}
		return indent(spaces, text), nil
	}
}

// short is a text that may be made longer once more.
func short(name, text string) (string, error) {
	return text, fits(name, len(text), 1)
}

func fits(name string, count, bytes int) error {
	switch {
	case count < 0:
		return fmt.Errorf("`%s` of a negative number", name)
	case bytes > 0 && count > mostText/bytes:
		return fmt.Errorf("`%s` makes a text of more than %d MiB", name, mostText>>20)
	}
	return nil
}

func numbers(name string, start, stop, step int) error {
	distance, step64 := int64(stop)-int64(start), int64(step)
	if distance < 0 {
		distance, step64 = -distance, -step64
	}
	if step64 > 0 && distance/step64 > mostNumbers {
		return fmt.Errorf("`%s` makes more than %d numbers", name, mostNumbers)
	}
	return nil
}
