package users

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/plugins/internal/mschap"
)

const small = `# the house
alice: wonderland
bob:nt-hash:44EBBA8D5312B8D6114744 # broken
`

func read(t *testing.T, text string, n Names) *File {
	t.Helper()
	f, err := Read([]byte(text), n)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestTheFileOfTheManual(t *testing.T) {
	f := read(t, "\ufeff# name: password\r\n\n"+
		"alice: wonderland\r\n"+
		"bob: nt-hash:44ebba8d5312b8d611474411f56989ae\n"+
		`carol: "pass: \"word\" # with \\ anything" staff,admins # the boss`+"\n"+
		`SALES\dave:s3cret#1 sales`+"\n"+
		`"erin: of the mill" : "x"`, Names{})
	for name, want := range map[string]struct {
		password string
		groups   []string
	}{
		"alice":             {"wonderland", nil},
		"bob":               {"clientPass", nil},
		"carol":             {`pass: "word" # with \ anything`, []string{"staff", "admins"}},
		`SALES\dave`:        {"s3cret#1", []string{"sales"}},
		"erin: of the mill": {"x", nil},
	} {
		got, err := f.Verify(t.Context(), name, []byte(want.password))
		if err != nil || got.Name != name || !slices.Equal(got.Groups, want.groups) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if _, err := f.Verify(t.Context(), name, []byte(want.password+"x")); !errors.Is(err, ErrRefused) {
			t.Errorf("%s with a wrong password: %v", name, err)
		}
	}
	if p, ok := f.Find("bob").Password(); ok || len(p) == 0 {
		t.Error("a hash has become a password, or bob is another case than the rest")
	}
}

func TestAnUnknownUserHasAnEntryToo(t *testing.T) {
	f := read(t, "alice: wonderland", Names{})
	mallory, alice := f.Find("mallory"), f.Find("alice")
	if mallory.Known || mallory.Name != "mallory" || mallory.hash == (mschap.Hash{}) || mallory.hash == alice.hash {
		t.Errorf("%+v", mallory)
	}
	if _, ok := mallory.Password(); !ok {
		t.Error("a method that needs a password would go another way")
	}
	if _, err := f.Verify(t.Context(), "mallory", nil); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	if other := read(t, "alice: wonderland", Names{}).Find("mallory"); other.hash == mallory.hash {
		t.Error("nobody's password is the same each time, so it could be found")
	}
}

func TestSpellingsOfOneName(t *testing.T) {
	for _, c := range []struct {
		names Names
		said  string
		known bool
	}{
		{Names{}, "Alice", true},
		{Names{}, "alice", false},
		{Names{}, "Alice@example.com", false},
		{Names{FoldCase: true}, "aLICE", true},
		{Names{StripRealm: true}, "Alice@example.com", true},
		{Names{StripRealm: true}, "@Alice", false},
		{Names{StripDomain: true}, `EXAMPLE\Alice`, true},
		{Names{StripDomain: true}, `Alice\EXAMPLE`, false},
		{Names{StripDomain: true, StripRealm: true, FoldCase: true}, `EXAMPLE\ALICE@example.com`, true},
	} {
		f := read(t, "Alice: wonderland", c.names)
		got, err := f.Verify(t.Context(), c.said, []byte("wonderland"))
		if (err == nil) != c.known || c.known && got.Name != "Alice" {
			t.Errorf("%+v: %s is %+v, %v", c.names, c.said, got, err)
		}
	}
	if _, err := NamesFrom(map[string]string{"fold-case": "true"}); err == nil {
		t.Error("fold-case takes anything")
	}
}

func TestEveryWrongLineIsToldAndNoWordShown(t *testing.T) {
	lines := []struct{ line, what string }{
		{"hunter2 without colon", "no colon"},
		{": hunter2", "name before the colon"},
		{"a:", "password is missing"},
		{`b: ""`, "password is empty"},
		{`c: "hunter2`, "closing quote"},
		{`d: "hunter2\n"`, "backslash"},
		{`e: hunter2 hunter2 hunter2`, "more behind the groups"},
		{`f: hunter2 hun+ter2`, "group 1"},
		{`g: hunter2 staff,`, "group 2"},
		{`h: hun"ter2`, "quote within"},
		{`i: "hunter2"hunter2`, "without a space"},
		{"j: nt-hash:hunter2", "32 hexadecimal"},
		{"k: nt-hash:hunter2hunter2hunter2hunter2hunt", "32 hexadecimal"},
		{"l: nt-hash:hunter2hunter2hunter2hunter2hunt"[:3+8+32], "one is none"},
		{"m: " + strings.Repeat("hunter2", 37), "256 characters"},
		{"n: " + strings.Repeat("hunter2", 400), "octets, and may have 2048"},
		{strings.Repeat("hunter2", 37) + ": x", "name has 259 octets"},
		{"o: hun\x01ter2", "control character"},
		{"p: hunter2 " + strings.Repeat("g,", 64) + "g", "65 groups"},
		{`"hunter2: x`, "closing quote"},
		{`"hunter2" hunter2`, "no colon"},
		{"twice: hunter2", ""},
		{"twice: hunter2", "user of line 22 again"},
	}
	var text strings.Builder
	for _, l := range lines {
		text.WriteString(l.line + "\n")
	}
	_, err := Read([]byte(text.String()), Names{})
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	told := map[int]string{}
	for _, p := range problems {
		told[p.Line] = p.What
	}
	for i, l := range lines {
		if l.what == "" != (told[i+1] == "") || !strings.Contains(told[i+1], l.what) {
			t.Errorf("line %d, %s: told %q, want %q", i+1, l.line, told[i+1], l.what)
		}
	}
	var out strings.Builder
	if Check([]byte(text.String()), Names{}, &out) {
		t.Error("--check takes it")
	}
	if strings.Contains(out.String()+err.Error(), "unter") {
		t.Errorf("a word of the file is shown:\n%s", out.String())
	}
	if len(err.Error()) > 1024 || !strings.Contains(err.Error(), "more") {
		t.Errorf("an error of %d octets: %v", len(err.Error()), err)
	}
}

func TestFilesThatAreTooMuchOrNothing(t *testing.T) {
	var many strings.Builder
	for i := range MaxUsers + 1 {
		fmt.Fprintf(&many, "user%d: x\n", i)
	}
	for what, text := range map[string]string{
		"no user":         "# nobody\n",
		"20001 users":     many.String(),
		"1048577 octets,": strings.Repeat("#", MaxFile+1),
		"not UTF-8":       "alice: \xff\xfe",
		"nothing is left": `SALES\: x`,
	} {
		if _, err := Read([]byte(text), Names{StripDomain: true}); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestEntriesDoNotPrintTheirSecrets(t *testing.T) {
	e := read(t, "alice: hunter2", Names{}).Find("alice")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, e); strings.Contains(got, "hunter2") || strings.Contains(got, "104 117") || strings.Contains(got, "0x68") {
			t.Errorf("%s: %s", verb, got)
		}
	}
}

func TestCheckSaysHowManyThereAre(t *testing.T) {
	var out strings.Builder
	ok := Check([]byte("a: x staff\nb: nt-hash:44ebba8d5312b8d611474411f56989ae staff,admins\n"), Names{}, &out)
	if !ok || out.String() != "2 users, 1 of them with an NT hash (no EAP-MD5), in 2 groups\n" {
		t.Errorf("%v: %s", ok, out.String())
	}
	if Check([]byte(small), Names{}, &out) {
		t.Error("a broken hash passes")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte("a: \"x\\\"\" g,h # c\n\"b:\\\\\": nt-hash:44ebba8d5312b8d611474411f56989ae"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Read(text, Names{StripDomain: true, StripRealm: true, FoldCase: true})
		if err != nil {
			return
		}
		for key, e := range file.entries {
			if e.Name == "" || !e.Known || len(e.Groups) > MaxGroups {
				t.Errorf("%q: %+v", key, e)
			}
			if p, ok := e.Password(); ok {
				if _, err := file.Verify(t.Context(), e.Name, p); err != nil {
					t.Errorf("%q cannot come in with its own password: %v", e.Name, err)
				}
			}
		}
	})
}

func TestTheCheckCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte("alice: x\nALICE: y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		status int
		asked  bool
		said   string
	}{
		{nil, 0, false, ""},
		{[]string{"--serve"}, 0, false, ""},
		{[]string{"--check", path}, 0, true, "2 users"},
		{[]string{"--check", path, "fold-case=yes"}, 1, true, "line 2: the user of line 1 again"},
		{[]string{"--check", path, "fold-case=true"}, 2, true, "yes or no"},
		{[]string{"--check"}, 2, true, "usage"},
		{[]string{"--check", path + ".no"}, 2, true, "no such file"},
	} {
		var out strings.Builder
		status, asked := CheckCommand(append([]string{"eap-mschapv2"}, c.args...), &out, &out)
		if status != c.status || asked != c.asked || !strings.Contains(out.String(), c.said) {
			t.Errorf("%v: %d, %v, %s", c.args, status, asked, out.String())
		}
	}
}
