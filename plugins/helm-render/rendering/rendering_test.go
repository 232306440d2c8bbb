package rendering

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/engine"
)

func packed(files map[string]string) []byte {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	archive := tar.NewWriter(zip)
	for name, text := range files {
		archive.WriteHeader(&tar.Header{Name: "app/" + name, Mode: 0o644, Size: int64(len(text))})
		archive.Write([]byte(text))
	}
	archive.Close()
	zip.Close()
	return out.Bytes()
}

func job(files map[string]string, values ...string) *Job {
	all := map[string]string{"Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.0.0\nappVersion: \"3\"\n"}
	for name, text := range files {
		all[name] = text
	}
	made := &Job{Archive: packed(all), Name: "app", Namespace: "apps"}
	for _, text := range values {
		made.Values = append(made.Values, []byte(text))
	}
	return made
}

func TestLinesAreThoseOfTheTemplate(t *testing.T) {
	template := "{{- if .Values.enabled }}\n# {{ include \"app.name\" . }}\nkind: Pod\nspec:\n  containers:\n  {{- range .Values.images }}\n  - image: {{ . }}\n    args: [{ {{- \"a: b\" }}}]\n  {{- end }}\n  - image: {{ include \"app.image\" . | quote }}\n{{- end }}\n---\nkind: Service\n"
	helpers := "{{ define \"app.name\" }}\n{{- \"x\" }}\n{{- end }}\n{{ define \"app.image\" -}}\norg/app:{{ .Chart.AppVersion }}\n{{- end }}\n{{ define \"empty\" }}\n{{ end }}"
	documents, problem := Render(job(map[string]string{"templates/pod.yaml": template, "templates/_h.tpl": helpers}, "enabled: true\nimages: [a/b:1, c/d:2]\n"))
	if problem != nil || len(documents) != 2 {
		t.Fatal(problem, documents)
	}
	pod := documents[0]
	want := "# x\nkind: Pod\nspec:\n  containers:\n  - image: a/b:1\n    args: [{a: b}]\n  - image: c/d:2\n    args: [{a: b}]\n  - image: \"org/app:3\""
	if pod.Text != want {
		t.Errorf("%q", pod.Text)
	}
	lines := []int{2, 3, 4, 5, 7, 8, 7, 8, 10}
	for at, line := range lines {
		if pod.Lines[at] != line {
			t.Errorf("line %d comes from %d, not from %d: %v", at, line, pod.Lines[at], pod.Lines)
		}
	}
	if documents[1].Lines[0] != 13 {
		t.Error(documents[1].Lines)
	}
}

func TestProblemsNameTheirPlace(t *testing.T) {
	for _, one := range []struct {
		template, says string
		line           int
	}{
		{"a: b\nc: {{ fail \"no tag\" }}\n", "no tag", 2},
		{"a: {{ required \"a tag is required\" .Values.tag }}\n", "a tag is required", 1},
		{"a: b\n\n c: {{ if }}\n", "missing value for if", 3},
		{"a: b\n{{- if true }}\n  c: [d\n{{- end }}\n", "not YAML", 3},
		{"{{ define \"loop\" }}{{ include \"loop\" . }}{{ end }}{{ include \"loop\" . }}", "nested reference name", 1},
		{"{{ define \"turn\" }}{{ template \"turn\" . }}{{ end }}{{ template \"turn\" . }}", "exceeded maximum template depth", 1},
		{"a: |\n{{ range until 1000 }}{{ range until 1000 }}\n  {{ repeat 100 \"x\" }} and so on for a hundred bytes in each of them, which comes to a lot\n{{ end }}{{ end }}\n", "more than 32 MiB", 3},
		{"{{ repeat 100000000 \"x\" }}", "more than 8 MiB", 1},
		{"{{ range until 2000000000 }}{{ end }}", "numbers", 1},
		{"{{ .Values.a.b.c }}", "nil pointer", 1},
		// Nothing of it is text of a template.
		{"a: |\n{{- range until 1000000 }}\n{{- $.Values.long -}}\n{{- end }}", "more than 32 MiB", 3},
		{"{{- range until 1000000 }}{{- $.Values -}}{{- end }}", "more than 32 MiB", 1},
		{"\n{{ tpl \"{{ range until 1000000 }}{{ $.Values.long }}{{ end }}\" . }}", "more than 32 MiB", 2},
		{"{{ $x := tpl .Values.endless . }}", "more than 32 MiB", 1},
		{"\n{{ . | tpl (print .Values.endless \")\") | quote }}", "more than 32 MiB", 2},
		{"{{ define \"a\" }}{{ range until 1000000 }}{{ $.Values.long }}{{ end }}{{ end }}{{ if (include \"a\" .) }}{{ end }}", "more than 32 MiB", 1},
		{"{{ $x := \"ab\" }}{{ range until 60 }}{{ $x = printf \"%s%s\" $x $x }}{{ end }}", "`printf` makes a text of more than 8 MiB", 1},
		{"{{ $x := \"ab\" }}{{ range until 60 }}{{ $x = replace \"b\" $x $x }}{{ end }}", "`replace` makes a text of more than 8 MiB", 1},
		{"{{ tpl \"a: {{ .Values.a.b }}\" . }}", "nil pointer", 1},
		{"{{ tpl \"a: {{ if }}\" . }}", "missing value for if", 1},
		{"{{ range .Values.text }}{{ end }}", "range can't iterate over", 1},
	} {
		_, problem := Render(job(map[string]string{"templates/x.yaml": one.template}, "text: true\nlong: "+strings.Repeat("x", 1000)+"\nendless: '{{ range until 1000000 }}{{ $.Values.long }}{{ end }}'\n"))
		if problem != nil && strings.Contains(problem.Message, "airgap") {
			t.Errorf("what is ours is told: %s", problem.Message)
		}
		if problem == nil || !strings.Contains(problem.Message, one.says) || problem.Line != one.line ||
			problem.Template != "app/templates/x.yaml" {
			t.Errorf("%q: %+v", one.template, problem)
		}
	}
}

func TestTheClusterIsTheOneThatIsAsked(t *testing.T) {
	files := map[string]string{"templates/x.yaml": "a: {{ .Capabilities.KubeVersion.Minor }} {{ .Capabilities.APIVersions.Has \"x.io/v1\" }} {{ .Capabilities.APIVersions.Has \"apps/v1\" }} {{ len (lookup \"v1\" \"Pod\" \"\" \"\") }}\n"}
	made := job(files)
	made.KubeVersion, made.APIVersions = "1.29.3", []string{"x.io/v1"}
	documents, problem := Render(made)
	if problem != nil || documents[0].Text != "a: 29 true true 0\n" {
		t.Fatal(problem, documents)
	}
	files["Chart.yaml"] = "apiVersion: v2\nname: app\nversion: 1.0.0\nkubeVersion: '>=1.30.0-0'\n"
	made = job(files)
	made.KubeVersion = "1.29.3"
	if _, problem = Render(made); problem == nil || !strings.Contains(problem.Message, "requires kubeVersion") {
		t.Fatal(problem)
	}
}

func TestHooksAndTestsAreTold(t *testing.T) {
	pod := "metadata: {annotations: {\"helm.sh/hook\": \"test, post-install\"}}\n"
	documents, problem := Render(job(map[string]string{"templates/x.yaml": pod, "templates/NOTES.txt": "a: [\n", "templates/_x.yaml": "a: [\n"}))
	if problem != nil || len(documents) != 1 || strings.Join(documents[0].Hooks, " ") != "test post-install" {
		t.Fatal(problem, documents)
	}
}

func TestWhatNamesAnUnknownHookIsNotSent(t *testing.T) {
	pod := "metadata: {annotations: {\"helm.sh/hook\": \"crd-install\"}}\n"
	if documents, problem := Render(job(map[string]string{"templates/x.yaml": pod})); problem != nil || len(documents) != 0 {
		t.Fatal(problem, documents)
	}
}

// Guards the time that a chart takes: a key of RSA takes minutes in WebAssembly.
func TestKeysAreNotComputed(t *testing.T) {
	template := "{{ $ca := genCA \"x\" 1 }}{{ $c := genSignedCert \"y\" nil (list \"a\") 1 $ca }}a: {{ $c.Key | b64enc }}\nb: {{ htpasswd \"u\" \"p\" }}\n"
	documents, problem := Render(job(map[string]string{"templates/x.yaml": template}))
	if problem != nil || len(documents) != 1 {
		t.Fatal(problem, documents)
	}
}

func TestWhatZarfFillsInIsNoComment(t *testing.T) {
	documents, problem := Render(job(map[string]string{"templates/x.yaml": "a: {{ .Values.tag }}\n"}, "tag: ###ZARF_VAR_TAG###\n"))
	if problem != nil || documents[0].Text != "a: $(ZARF_VAR_TAG)\n" {
		t.Fatal(problem, documents)
	}
}

// Guards that counting changes nothing of what is written: trimming, quotes,
// chains, missing and addressable values, texts that are templates.
func TestWhatIsCountedIsWrittenAsItWas(t *testing.T) {
	template := "a: {{ .Values.none }}\nb: {{ .Capabilities.KubeVersion }}\nc: {{- \" }} \" -}} {{ `}}` }}{{ '}' }}\n" +
		"d: {{ (dict \"k\" 3).k }} {{ 1.50 }} {{ true }} {{ list 1 \"x\" nil }}\n" +
		"e: {{ tpl (print .Values.text \" ) \") . }} {{ . | tpl .Values.text }} {{ tpl \"{{ tpl .Values.text . }}\" . | quote }}\n" +
		"f: {{ $x := 4 }}{{ $x = 5 }}{{ $x\n -}}\n  {{- /* none */ -}}\n\ng: {{ with tpl .Values.text . }}{{ . }}{{ end }}{{ .Values.list }}\n" +
		"h: {{ if not .Values.none }}{{ .Values.text | trunc 3 -}} {{- end }}{{ template \"t\" (tpl .Values.text .) }}{{ define \"t\" }}<{{ . }}>{{ end }}\n"
	made := job(map[string]string{"templates/x.yaml": template}, "text: 'q{{ .Release.Name -}} '\nlist: [a, {b: 1}]\n")
	loaded, values, _ := load(made)
	capabilities, _ := capabilities(made)
	coalesced, err := util.CoalesceValues(loaded, values)
	plain, failed := engine.Engine{}.Render(loaded, top(made, loaded, coalesced, capabilities))
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	meter := &meter{}
	markAll(loaded, meter)
	counted, problem := once(loaded, top(made, loaded, coalesced, capabilities), meter)
	if problem != nil || counted["app/templates/x.yaml"] != plain["app/templates/x.yaml"] {
		t.Fatalf("%+v\n%q\n%q", problem, counted, plain)
	}
	if meter.bytes < 2*len("app") {
		t.Error("nothing is counted")
	}
}
