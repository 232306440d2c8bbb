// Package rendering renders a chart as `helm template` does, with Helm's own
// loader and template engine.
package rendering

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"regexp"
	"sort"
	"strconv"
	"strings"

	charts "helm.sh/helm/v4/pkg/chart"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
)

// Job is a chart and what it is rendered with.
type Job struct {
	// The packed chart.
	Archive []byte
	// Values files, in their order.
	Values [][]byte
	// Of the release.
	Name, Namespace string
	// Of the cluster: `1.31.4`, or empty for the one that Helm itself assumes.
	KubeVersion string
	// That the cluster knows beside those of Kubernetes.
	APIVersions []string
}

// Problem is why a chart can not be rendered.
type Problem struct {
	Message string `json:"message"`
	// The template, where one is the reason: `app/templates/pod.yaml`.
	Template string `json:"template,omitempty"`
	// Of the template; 0 where it is not known.
	Line int `json:"line,omitempty"`
}

// Render renders a chart to the documents that Helm sends to a cluster, in the
// order of the templates, hooks and tests included, notes not.
func Render(job *Job) ([]Document, *Problem) {
	loaded, values, problem := load(job)
	if problem != nil {
		return nil, problem
	}
	if err := chartutil.ProcessDependencies(loaded, values); err != nil {
		return nil, told(fmt.Errorf("chart dependencies processing failed: %w", err))
	}
	capabilities, err := capabilities(job)
	if err != nil {
		return nil, told(err)
	}
	version := capabilities.KubeVersion
	if wanted := loaded.Metadata.KubeVersion; wanted != "" && !chartutil.IsCompatibleRange(wanted, version.String()) {
		return nil, &Problem{Message: fmt.Sprintf(
			"chart requires kubeVersion: %s which is incompatible with Kubernetes %s", wanted, version.Version)}
	}
	coalesced, err := util.CoalesceValues(loaded, values)
	if err != nil {
		return nil, told(err)
	}
	return rendered(loaded, top(job, loaded, coalesced, capabilities))
}

func load(job *Job) (*chart.Chart, map[string]any, *Problem) {
	files, err := archive.LoadArchiveFiles(bytes.NewReader(job.Archive))
	if err != nil {
		return nil, nil, told(err)
	}
	loaded, err := loader.LoadFiles(files)
	if err != nil {
		return nil, nil, told(err)
	}
	values := map[string]any{}
	for _, file := range job.Values {
		read, err := loader.LoadValues(bytes.NewReader(filledInLater(file)))
		if err != nil {
			return nil, nil, told(fmt.Errorf("a values file: %w", err))
		}
		values = loader.MergeMaps(values, read)
	}
	return loaded, values, nil
}

func capabilities(job *Job) (*common.Capabilities, error) {
	capabilities := common.DefaultCapabilities.Copy()
	if job.KubeVersion != "" {
		version, err := common.ParseKubeVersion(job.KubeVersion)
		if err != nil {
			return nil, fmt.Errorf("the version of Kubernetes %q: %w", job.KubeVersion, err)
		}
		capabilities.KubeVersion = *version
	}
	known := append(common.VersionSet{}, capabilities.APIVersions...)
	capabilities.APIVersions = append(known, job.APIVersions...)
	return capabilities, nil
}

// top is what templates see, as Helm's ToRenderValues makes it; that function
// would bring a client for HTTP along.
func top(job *Job, loaded *chart.Chart, values common.Values, capabilities *common.Capabilities) common.Values {
	accessor, err := charts.NewAccessor(loaded)
	if err != nil {
		panic(err)
	}
	return common.Values{
		"Chart":        accessor.MetadataAsMap(),
		"Capabilities": capabilities,
		"Release": map[string]any{
			"Name":      job.Name,
			"Namespace": job.Namespace,
			"IsUpgrade": false,
			"IsInstall": true,
			"Revision":  1,
			"Service":   "Helm",
		},
		"Values": values,
	}
}

// rendered renders twice: what Helm writes, and the same with the places from
// which it comes.
func rendered(loaded *chart.Chart, top common.Values) ([]Document, *Problem) {
	meter := &meter{}
	markAll(loaded, meter)
	exact, problem := once(loaded, top, meter)
	if problem != nil {
		return nil, problem
	}
	meter.isMarking, meter.bytes, meter.passes = true, 0, 0
	marked, _ := once(loaded, top, meter)
	var names []string
	for name := range exact {
		if !strings.HasSuffix(name, "NOTES.txt") && !strings.HasPrefix(path.Base(name), "_") {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	documents := []Document{}
	for _, name := range names {
		of, problem := documentsOf(name, exact[name], marked[name])
		if problem != nil {
			return nil, problem
		}
		documents = append(documents, of...)
	}
	return documents, nil
}

func markAll(loaded *chart.Chart, meter *meter) {
	for _, file := range loaded.Templates {
		name := path.Join(loaded.ChartFullPath(), file.Name)
		file.Data = []byte(meter.marked(name, string(file.Data)))
	}
	for _, inner := range loaded.Dependencies() {
		markAll(inner, meter)
	}
}

func once(loaded *chart.Chart, top common.Values, meter *meter) (map[string]string, *Problem) {
	functions := bounded()
	maps.Copy(functions, fixed())
	maps.Copy(functions, meter.functions())
	written, err := engine.Engine{CustomTemplateFuncs: functions}.Render(loaded, top)
	switch {
	case meter.exceeds != nil:
		return nil, meter.exceeds
	case err != nil:
		return nil, told(err)
	}
	total := 0
	for name, text := range written {
		if total += len(text); total > mostBytes {
			return nil, &Problem{Template: name, Message: fmt.Sprintf("it writes more than %d MiB", mostBytes>>20)}
		}
	}
	return written, nil
}

// Where Helm says that something went wrong.
var place = regexp.MustCompile(`([^\s():"<>]+/templates/[^\s():"<>]+):(\d+)`)

// What is put into the sources, which messages quote.
var (
	ownText = regexp.MustCompile(`\(` + textFunction + `(?: \d+)* ?`)
	own     = regexp.MustCompile(`\{\{airgap\w+(?: \d+)*\}\}| ?\| ?` + wroteFunction + `(?: \d+)*`)
)

func withoutMarks(message string) string {
	message = own.ReplaceAllString(message, "")
	for {
		found := ownText.FindStringIndex(message)
		if found == nil {
			return message
		}
		// Where the message breaks off there is no end.
		end, is := pastOne(message, found[0])
		if !is {
			message = message[:found[0]] + message[found[1]:]
			continue
		}
		message = message[:found[0]] + message[found[1]:end-1] + message[end:]
	}
}

// Bytes of a message.
const mostWords = 1000

// told is an error in one line, with the place that it names last: the deepest.
func told(err error) *Problem {
	problem := &Problem{Message: strings.Join(strings.Fields(withoutMarks(err.Error())), " ")}
	if found := place.FindAllStringSubmatch(problem.Message, -1); found != nil {
		last := found[len(found)-1]
		problem.Template = last[1]
		problem.Line, _ = strconv.Atoi(last[2])
	}
	if len(problem.Message) > mostWords {
		first, last := problem.Message[:mostWords/4], problem.Message[len(problem.Message)-mostWords*3/4:]
		problem.Message = strings.ToValidUTF8(first, "") + " … " + strings.ToValidUTF8(last, "")
	}
	return problem
}

// What Zarf replaces at the deployment. Without quotes it is a comment until
// then, which would read as if nothing stood there.
var variable = regexp.MustCompile(`###(ZARF_[^\s#]*)###`)

func filledInLater(values []byte) []byte {
	return variable.ReplaceAll(values, []byte(`$$($1)`))
}
