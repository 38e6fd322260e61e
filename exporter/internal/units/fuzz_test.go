package units

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/godbus/dbus/v5"
)

// FuzzSnapshot reads messages as they may come from a bus that is not systemd's.
func FuzzSnapshot(f *testing.F) {
	for _, body := range [][]any{
		{[][]any{{"a.service", "A", "loaded", "active", "running", "", dbus.ObjectPath("/a"), uint32(0), "", dbus.ObjectPath("/")}}},
		{map[string]dbus.Variant{"TimersCalendar": dbus.MakeVariant([][]any{{"OnCalendar", "*-*-* 00:00:00", uint64(1)}}), "NRestarts": dbus.MakeVariant(uint32(3))}},
		{dbus.MakeVariant("notify")},
		{},
	} {
		var wire bytes.Buffer
		m := &dbus.Message{Type: dbus.TypeMethodReply, Headers: map[dbus.HeaderField]dbus.Variant{dbus.FieldReplySerial: dbus.MakeVariant(uint32(1))}, Body: body}
		if len(body) > 0 {
			m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
		}
		if err := m.EncodeTo(&wire, binary.LittleEndian); err != nil {
			f.Fatal(err)
		}
		f.Add(wire.Bytes())
	}
	f.Fuzz(func(_ *testing.T, wire []byte) {
		// The library takes messages of up to 128 MiB, and the memory for them at once.
		if len(wire) < 16 || len(wire) > 1<<16 || bytes.ContainsFunc(wire[6:8], func(r rune) bool { return r != 0 }) {
			return
		}
		m := decode(wire)
		if m == nil {
			return
		}
		var rows [][]any
		if dbus.Store(m.Body, &rows) == nil {
			listed, err := listOf(rows)
			for _, l := range listed {
				if err == nil {
					use(New(l.Name, l.ActiveState, l.SubState, nil))
				}
			}
		}
		got := map[string]any{}
		var all map[string]dbus.Variant
		if dbus.Store(m.Body, &all) == nil {
			for name, v := range all {
				got[name] = v.Value()
			}
		}
		for i, v := range m.Body {
			got[[]string{"Accept", "ControlGroup", "TasksCurrent", "Type"}[i%4]] = v
		}
		for _, name := range []string{"a.service", "a.timer", "a.", ".", "", "a"} {
			use(New(name, "active", "running", got))
		}
	})
}

// decode returns nil for what the library cannot decode. It panics at some messages
// that no bus sends, such as one with the signature a{bb}0; that is not ours to mend.
func decode(wire []byte) (m *dbus.Message) {
	defer func() {
		if recover() != nil {
			m = nil
		}
	}()
	m, err := dbus.DecodeMessage(bytes.NewReader(wire))
	if err != nil {
		return nil
	}
	return m
}

// use asks a unit for everything.
func use(u *Unit) {
	_ = interfaceOf(u.Type)
	for property := range u.properties {
		u.Number(property)
		u.Limited(property)
		u.Text(property)
		u.Rows(property)
		u.Is(property)
	}
}
