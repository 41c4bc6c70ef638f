package status

import "testing"

func TestJoin(t *testing.T) {
	g := Gateway{
		IKE:  IKE{Connections: []Connection{{Children: []Child{{SAs: []ChildSA{{SPIIn: "00000001"}, {SPIIn: "00000002"}}}}}}},
		XFRM: XFRM{Traffic: []Traffic{{SPIIn: "00000002", BytesIn: 1, BytesOut: 2, PacketsIn: 3, PacketsOut: 4}, {SPIIn: "00000009", BytesIn: 9}}},
	}
	g.Join()
	sas := g.IKE.Connections[0].Children[0].SAs
	if sas[0].BytesIn != 0 || sas[1].BytesIn != 1 || sas[1].BytesOut != 2 || sas[1].PacketsIn != 3 || sas[1].PacketsOut != 4 {
		t.Errorf("%+v", sas)
	}
	if g.XFRM.Traffic != nil {
		t.Error("the traffic is told twice")
	}
}
