package listing

import "testing"

func TestEveryImageIsALine(t *testing.T) {
	if text := Listed("Images", []string{"a:1"}); text != "Images\n\n- a:1\n" {
		t.Error(text)
	}
}
