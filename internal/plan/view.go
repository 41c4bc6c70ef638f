package plan

import "net/netip"

// IKEView is what ikeproc may know of a plan: no file of a secret.
type IKEView struct {
	Gateway     string       `json:"gateway"`
	Listen      []netip.Addr `json:"listen"`
	Connections []Connection `json:"connections"`
	Sources     []string     `json:"sources"`
}

// AuthView is what authproc may know: identities and credentials, no proposals, no selectors.
type AuthView struct {
	Gateway      string           `json:"gateway"`
	Secrets      []Secret         `json:"secrets"`
	Certificates []Certificate    `json:"certificates,omitempty"`
	Authorities  []Authority      `json:"authorities,omitempty"`
	Plugins      []Plugin         `json:"plugins,omitempty"`
	Pools        []Pool           `json:"pools,omitempty"`
	Connections  []AuthConnection `json:"connections"`
	Sources      []string         `json:"sources"`
}

// AuthConnection is authproc's part of a Connection.
type AuthConnection struct {
	Name       string     `json:"name"`
	Local      Endpoint   `json:"local"`
	Remote     Endpoint   `json:"remote"`
	LocalAuth  Auth       `json:"local_auth"`
	RemoteAuth Auth       `json:"remote_auth"`
	Configure  Configure  `json:"configure,omitzero"`
	Request    Request    `json:"request,omitzero"`
	Accounting Accounting `json:"accounting,omitzero"`
	Unique     Unique     `json:"unique,omitempty"`
	Pos        Pos        `json:"pos"`
}

// XFRMView is what xfrmproc may know: what may be installed, and what must never leave in clear.
type XFRMView struct {
	Gateway     string           `json:"gateway"`
	Datapath    Datapath         `json:"datapath"`
	Listen      []netip.Addr     `json:"listen"`
	Bypass      []Bypass         `json:"bypass"`
	Connections []XFRMConnection `json:"connections"`
	Sources     []string         `json:"sources"`
}

// XFRMConnection is xfrmproc's part of a Connection. RemoteID binds a grant to the peer that the plan means.
type XFRMConnection struct {
	Name       string   `json:"name"`
	Local      Endpoint `json:"local"`
	Remote     Endpoint `json:"remote"`
	ForceEncap bool     `json:"force_encap"`
	Unique     Unique   `json:"unique"`
	Request    Request  `json:"request,omitzero"`
	// Leased: the peer is sent to, and sends from, what a pool gave it (Grant.Peer), and no other address.
	Leased   bool    `json:"leased,omitempty"`
	Children []Child `json:"children"`
	Pos      Pos     `json:"pos"`
}

// IKE is ikeproc's view of the plan.
func (p *Plan) IKE() IKEView {
	return IKEView{Gateway: p.Gateway, Listen: p.Listen, Connections: p.Connections, Sources: p.Sources}
}

// Auth is authproc's view of the plan.
func (p *Plan) Auth() AuthView {
	v := AuthView{Gateway: p.Gateway, Secrets: p.Secrets, Certificates: p.Certificates, Authorities: p.Authorities, Plugins: p.Plugins, Pools: p.Pools, Sources: p.Sources}
	for _, c := range p.Connections {
		v.Connections = append(v.Connections, AuthConnection{
			Name: c.Name, Local: c.Local, Remote: c.Remote, LocalAuth: c.LocalAuth, RemoteAuth: c.RemoteAuth,
			Configure: c.Configure, Request: c.Request, Accounting: c.Accounting, Unique: c.Unique, Pos: c.Pos})
	}
	return v
}

// XFRM is xfrmproc's view of the plan.
func (p *Plan) XFRM() XFRMView {
	v := XFRMView{Gateway: p.Gateway, Datapath: p.Datapath, Listen: p.Listen, Bypass: p.Bypass, Sources: p.Sources}
	for _, c := range p.Connections {
		v.Connections = append(v.Connections, XFRMConnection{
			Name: c.Name, Local: c.Local, Remote: c.Remote, ForceEncap: c.ForceEncap, Unique: c.Unique, Request: c.Request, Leased: len(c.Configure.Pools) > 0, Children: c.Children,
			Pos: c.Pos})
	}
	return v
}
