"""The storm: users of WeCom act, their callbacks come twice, late or never, and the CRM ends as the vendor stands."""
