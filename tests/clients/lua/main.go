// Runs a health script of Argo CD as Argo CD does: in gopher-lua, with the resource as `obj`. The resource comes as JSON
// on the standard input; the answer goes out as "STATUS: MESSAGE".
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"

	lua "github.com/yuin/gopher-lua"
)

func main() {
	var resource any
	if err := json.NewDecoder(os.Stdin).Decode(&resource); err != nil {
		log.Fatal(err)
	}
	state := lua.NewState()
	defer state.Close()
	state.SetGlobal("obj", value(state, resource))
	if err := state.DoFile(os.Args[1]); err != nil {
		log.Fatal(err)
	}
	health, is := state.Get(-1).(*lua.LTable)
	if !is {
		log.Fatal("the script returned no table")
	}
	fmt.Printf("%s: %s\n", health.RawGetString("status"), health.RawGetString("message"))
}

func value(state *lua.LState, of any) lua.LValue {
	switch of := of.(type) {
	case bool:
		return lua.LBool(of)
	case float64:
		return lua.LNumber(of)
	case string:
		return lua.LString(of)
	case []any:
		table := state.NewTable()
		for _, item := range of {
			table.Append(value(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range of {
			table.RawSetString(key, value(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}
