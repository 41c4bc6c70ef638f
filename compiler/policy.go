package compiler

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// The policy as the schema shapes it. What is absent is empty, and gets its default when it is lowered.
type (
	gatewayDoc struct {
		Address     string   `json:"address"`
		Addresses   []string `json:"addresses"`
		Inside      string   `json:"inside"`
		ID          string   `json:"id"`
		Certificate string   `json:"certificate"`
		Networks    []string `json:"networks"`
		Datapath    string   `json:"datapath"`
	}
	linkDoc struct {
		Between []string `json:"between"`
		Family  string   `json:"family"`
		tunnelDoc
	}
	connectionDoc struct {
		Gateway    string         `json:"gateway"`
		Peer       peerDoc        `json:"peer"`
		Configure  *configureDoc  `json:"configure"`
		Accounting *accountingDoc `json:"accounting"`
		tunnelDoc
	}
	accountingDoc struct {
		Plugin  string `json:"plugin"`
		Interim string `json:"interim"`
	}
	configureDoc struct {
		Pools   []string `json:"pools"`
		DNS     []string `json:"dns"`
		Domains []string `json:"domains"`
		Subnets []string `json:"subnets"`
	}
	poolDoc struct {
		Addresses string `json:"addresses"`
	}
	peerDoc struct {
		Address  string   `json:"address"`
		ID       string   `json:"id"`
		Networks []string `json:"networks"`
	}
	bypassDoc struct {
		Gateway string        `json:"gateway"`
		Local   []selectorDoc `json:"local"`
		Remote  []selectorDoc `json:"remote"`
	}
	secretDoc struct {
		File       string `json:"file"`
		Credential string `json:"credential"`
	}
	certificateDoc struct {
		File       string `json:"file"`
		PEM        string `json:"pem"`
		Raw        bool   `json:"raw"`
		Key        string `json:"key"`
		Passphrase string `json:"passphrase"`
	}
	authorityDoc struct {
		File     string   `json:"file"`
		PEM      string   `json:"pem"`
		Raw      bool     `json:"raw"`
		CRLFiles []string `json:"crlFiles"`
	}
	authDoc struct {
		PSK *struct {
			Secret string `json:"secret"`
		} `json:"psk"`
		Certificate *certificateAuthDoc `json:"certificate"`
		EAP         *eapDoc             `json:"eap"`
		EAPClient   *eapClientDoc       `json:"eapClient"`
	}
	eapDoc struct {
		Plugins     []string `json:"plugins"`
		Identity    string   `json:"identity"`
		Groups      []string `json:"groups"`
		Ask         bool     `json:"ask"`
		Certificate string   `json:"certificate"`
	}
	eapClientDoc struct {
		Plugin      string   `json:"plugin"`
		Identity    string   `json:"identity"`
		Authorities []string `json:"authorities"`
		MinRSABits  int      `json:"minRSABits"`
		Revocation  string   `json:"revocation"`
	}
	pluginDoc struct {
		File      string            `json:"file"`
		SHA256    string            `json:"sha256"`
		Network   bool              `json:"network"`
		MemoryMB  int               `json:"memoryMB"`
		Processes int               `json:"processes"`
		Settings  map[string]string `json:"settings"`
		Secrets   map[string]string `json:"secrets"`
	}
	certificateAuthDoc struct {
		Authorities []string `json:"authorities"`
		Certificate string   `json:"certificate"`
		Schemes     []string `json:"schemes"`
		MinRSABits  int      `json:"minRSABits"`
		Revocation  string   `json:"revocation"`
	}
	tunnelDoc struct {
		Auth     authDoc      `json:"auth"`
		IKE      proposalsDoc `json:"ike"`
		ESP      proposalsDoc `json:"esp"`
		Legacy   bool         `json:"legacy"`
		Initiate string       `json:"initiate"`
		Unique   string       `json:"unique"`
		DPD      struct {
			Delay  string `json:"delay"`
			Action string `json:"action"`
		} `json:"dpd"`
		Lifetime   lifetimeDoc `json:"lifetime"`
		Retransmit struct {
			Initial *int        `json:"initial"`
			Factor  json.Number `json:"factor"`
			Tries   *int        `json:"tries"`
		} `json:"retransmit"`
		Fragmentation struct {
			Enabled *bool `json:"enabled"`
			Size    int   `json:"size"`
		} `json:"fragmentation"`
		Keepalive   string              `json:"keepalive"`
		Encapsulate bool                `json:"encapsulate"`
		Children    map[string]childDoc `json:"children"`
	}
	proposalsDoc struct {
		Suite     string   `json:"suite"`
		Proposals []string `json:"proposals"`
	}
	lifetimeDoc struct {
		Rekey        string `json:"rekey"`
		Jitter       string `json:"jitter"`
		Hard         string `json:"hard"`
		RekeyBytes   uint64 `json:"rekeyBytes"`
		HardBytes    uint64 `json:"hardBytes"`
		RekeyPackets uint64 `json:"rekeyPackets"`
		HardPackets  uint64 `json:"hardPackets"`
	}
	childDoc struct {
		Local        []selectorDoc `json:"local"`
		Remote       []selectorDoc `json:"remote"`
		Mode         string        `json:"mode"`
		ESP          proposalsDoc  `json:"esp"`
		Initiate     string        `json:"initiate"`
		Lifetime     lifetimeDoc   `json:"lifetime"`
		ReplayWindow int           `json:"replayWindow"`
	}
)

// selectorDoc is a prefix or "self", alone or with a protocol and ports.
type selectorDoc struct {
	Prefix   string
	Protocol string // a name or a number; empty for any
	Port     string // "443", "8000-8099"; empty for all
}

// self stands for the end's own address in a selector.
const self = "self"

func (s *selectorDoc) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &s.Prefix)
	}
	var long struct {
		Prefix   string          `json:"prefix"`
		Protocol json.RawMessage `json:"protocol"`
		Port     json.RawMessage `json:"port"`
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&long); err != nil {
		return err
	}
	s.Prefix = long.Prefix
	if s.Prefix == "" {
		s.Prefix = self
	}
	var err error
	if s.Protocol, err = textOrNumber(long.Protocol); err != nil {
		return err
	}
	s.Port, err = textOrNumber(long.Port)
	return err
}

func textOrNumber(b json.RawMessage) (string, error) {
	switch {
	case len(b) == 0 || string(b) == "null":
		return "", nil
	case b[0] == '"':
		var s string
		err := json.Unmarshal(b, &s)
		return s, err
	}
	if _, err := strconv.ParseUint(string(b), 10, 16); err != nil {
		return "", fmt.Errorf("%s is neither a text nor a number up to 65535", b)
	}
	return string(b), nil
}
