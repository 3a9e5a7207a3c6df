package bootlab

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// series is one run for each kernel time in milliseconds.
func series(instructions uint64, kernels ...int64) *Result {
	var runs []Run
	for _, k := range kernels {
		runs = append(runs, boot(k, instructions))
	}
	return Gather(setting, runs)
}

func find(t *testing.T, changes []Change, name string) Change {
	t.Helper()
	for _, c := range changes {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no %q in %+v", name, changes)
	return Change{}
}

func TestCompare(t *testing.T) {
	const kernel, insn = "kernel, to PID 1", "kernel, to PID 1, instructions"
	for name, c := range map[string]struct {
		old, now    *Result
		time, count Judgement
		percent, p  float64
	}{
		"itself":            {series(100, 10, 11, 12, 13), series(100, 10, 11, 12, 13), Same, Same, 0, 1},
		"clearly slower":    {series(100, 10, 11, 12, 13), series(100, 20, 21, 22, 23), Worse, Same, 90.9, 0.029},
		"clearly faster":    {series(100, 20, 21, 22, 23), series(90, 10, 11, 12, 13), Better, Better, -47.6, 0.029},
		"mixed up":          {series(100, 10, 20, 30, 40), series(101, 11, 19, 32, 39), Noise, Worse, -5, 1},
		"one run each":      {series(100, 10), series(100, 20), TooFew, Same, 100, 1},
		"more instructions": {series(100, 10, 11, 12, 13), series(103, 10, 11, 12, 13), Same, Worse, 0, 1},
	} {
		changes, err := c.now.Compare(c.old)
		if err != nil {
			t.Fatal(err)
		}
		got := find(t, changes, kernel)
		if got.Judgement != c.time || got.Percent() < c.percent-0.1 || got.Percent() > c.percent+0.1 || got.P > c.p+0.001 || got.P < c.p-0.2 {
			t.Errorf("%s: time %+v (%.1f%%), want %s, %.1f%%, p=%.3f", name, got, got.Percent(), c.time, c.percent, c.p)
		}
		if got := find(t, changes, insn); got.Judgement != c.count {
			t.Errorf("%s: instructions %+v, want %s", name, got, c.count)
		}
	}
}

func TestCompareRangesOverlap(t *testing.T) {
	old := Gather(setting, []Run{boot(10, 100), boot(10, 110)})
	now := Gather(setting, []Run{boot(10, 105), boot(10, 130)})
	changes, err := now.Compare(old)
	if err != nil {
		t.Fatal(err)
	}
	if got := find(t, changes, "kernel, to PID 1, instructions"); got.Judgement != Noise {
		t.Errorf("%+v, want noise: the ranges overlap", got)
	}
}

func TestCompareRefusesAnotherSetting(t *testing.T) {
	other := series(100, 10)
	other.Setting.Memory *= 2
	if _, err := other.Compare(series(100, 10)); err == nil || !strings.Contains(err.Error(), "256 MiB") {
		t.Errorf("%v, want an error that names the memory", err)
	}
}

func TestChanges(t *testing.T) {
	now := series(103, 20, 21, 22, 23)
	changes, err := now.Compare(series(100, 10, 11, 12, 13))
	if err != nil {
		t.Fatal(err)
	}
	text := Changes(changes)
	for _, want := range []string{"kernel, to PID 1  ", "11.0 ms", "21.0 ms", "+90.9%  worse (p=0.029)", "+3.0%  worse\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "same") {
		t.Errorf("what is the same is shown:\n%s", text)
	}
	if text := Changes(nil); !strings.Contains(text, "nothing has changed") {
		t.Errorf("no changes: %q", text)
	}
}

// FuzzResult reads what may be any file, and does all that can be done with it.
func FuzzResult(f *testing.F) {
	var b bytes.Buffer
	if err := series(100, 10, 11).Write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"Version":1,"Runs":[{"Marks":[{"Mark":1,"Nanoseconds":-9223372036854775808}]},{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		if r.Table() == "" {
			t.Error("no table")
		}
		if err := r.SVG(io.Discard); err != nil {
			t.Error(err)
		}
		changes, err := r.Compare(r)
		if err != nil {
			t.Error(err)
		}
		for _, c := range changes {
			if c.Judgement != Same && c.Judgement != TooFew && c.Judgement != Noise {
				t.Errorf("compared to itself: %+v", c)
			}
		}
	})
}
