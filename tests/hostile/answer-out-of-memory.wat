;; Answers with an address beyond its memory. | trapped
(func (export "handle") (param $delivery i32) (result i32) (i32.const -8))
