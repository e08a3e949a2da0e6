package daemon

import (
	"runtime"
	"slices"
	"testing"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/privdrop"
)

func TestKeptCaps(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there are capabilities on Linux only")
	}
	for _, tc := range []struct {
		links []conf.Link
		want  []privdrop.Cap
	}{
		{[]conf.Link{{BindPort: 5080}, {}}, nil},
		{[]conf.Link{{BindPort: 443}}, []privdrop.Cap{privdrop.NetBindService}},
		{[]conf.Link{{}, {BindFIB: 2}}, []privdrop.Cap{privdrop.NetAdmin}},
	} {
		if got := keptCaps(&conf.Config{Links: tc.links}); !slices.Equal(got, tc.want) {
			t.Errorf("%+v: %v, want %v", tc.links, got, tc.want)
		}
	}
}
