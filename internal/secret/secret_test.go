package secret

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

const key = "correct horse"

func TestNoVerbShowsAKeyHoweverDeepItLies(t *testing.T) {
	type inner struct{ hidden Bytes }
	type outer struct {
		Shown  Bytes
		hidden Bytes
		deep   inner
		behind *inner
		many   []Bytes
		named  map[string]Bytes
	}
	k := New([]byte(key))
	o := outer{k, k, inner{k}, &inner{k}, []Bytes{k}, map[string]Bytes{"k": k}}
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{string(b)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		all = append(all, fmt.Sprintf(verb, k), fmt.Sprintf(verb, o), fmt.Sprintf(verb, &o))
	}
	for _, said := range all {
		for _, bad := range []string{key, fmt.Sprintf("%x", key), fmt.Sprintf("%X", key), strings.Trim(fmt.Sprint([]byte(key)), "[]"), "0x63, 0x6f"} {
			if strings.Contains(said, bad) {
				t.Errorf("the key is in %q", said)
			}
		}
	}
}

func TestSecretsCompareAndAreWiped(t *testing.T) {
	own := []byte(key)
	a, b := New(own), Copy(own)
	if !a.Equal(b) || a.Equal(Bytes{}) || !(Bytes{}).Equal(New(nil)) || !reflect.DeepEqual(a, b) || a.Len() != len(key) {
		t.Error("secrets do not compare as their octets do")
	}
	shared := a
	a.Close()
	a.Close()
	if a.Len() != 0 || shared.Reveal()[0] != 0 || own[0] != 0 {
		t.Error("a secret that is closed is not wiped")
	}
	if string(b.Reveal()) != key {
		t.Error("a copy was wiped with it")
	}
}
