;; Calls what is not in the table. | trapped
(table 10 funcref)
(func (export "handle") (param $delivery i32) (result i32) (call_indirect (result i32) (i32.const 3)))
