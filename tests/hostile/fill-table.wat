;; Fills a large table with single instructions. | out-of-fuel
(table $t 100000 funcref)
(func (export "handle") (param $delivery i32) (result i32) (loop $again (table.fill $t (i32.const 0) (ref.null func) (i32.const 100000)) (br $again)) (unreachable))
