"""The forms this sandbox knows and the base data it starts with: data only (sections 3.3, 3.7 and 9.20)."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.kingdee.sandbox.metadata import Entity, Form, parse_fields
from hub.sdk.sandbox import Json

__all__ = ["BASE_DATA", "FORMS", "SEED_DEFAULTS", "find_form"]

STAMPS = """
FDocumentStatus 单据状态   enum=Z|A|B|C|D  system
FCreatorId      创建人     ref=SEC_User    system
FCreateDate     创建日期   time            system
FModifierId     修改人     ref=SEC_User    system
FModifyDate     修改日期   time            system
"""

CUSTOMER = """
FCreateOrgId         创建组织         ref=ORG_Organizations must
FUseOrgId            使用组织         ref=ORG_Organizations
FNumber              客户编码         text
FName                客户名称         name must
FShortName           简称             name
FCOUNTRY             国家             ref=BAS_Country
FPROVINCIAL          地区             ref=BAS_Province
FADDRESS             通讯地址         text
FZIP                 邮政编码         text
FWEBSITE             公司网址         text
FTEL                 联系电话         text
FFAX                 传真             text
FCompanyClassify     公司类别         text
FCompanyNature       公司性质         text
FCompanyScale        公司规模         text
FSOCIALCRECODE       统一社会信用代码 text
FLegalPerson         法人代表         text
FRegisterFund        注册资金         text
FFoundDate           成立日期         date
FRegisterAddress     注册地址         text
FDomains             经营范围         text
FInvoiceType         发票类型         enum=1|2
FTaxType             税分类           ref=BAS_TaxType
FTaxRate             默认税率         ref=BD_TaxRate
FPriority            客户优先级       int
FISCREDITCHECK       启用信用管理     flag
FIsTrade             是否交易客户     flag
FUncheckExpectQty    不校验可发量     flag
FDescription         备注             text
FINVOICETITLE        发票抬头         text
FTAXREGISTERCODE     纳税登记号       text
FINVOICEBANKNAME     开户银行         text
FINVOICETEL          开票联系电话     text
FINVOICEBANKACCOUNT  银行账号         text
FINVOICEADDRESS      开票通讯地址     text
FGroup               客户分组         ref=BD_CustomerGroup
FCustTypeId          客户类别         ref=BD_CustomerType
FTRADINGCURRID       结算币别         ref=BD_Currency must
FRECEIVECURRID       收款币别         ref=BD_Currency
FSALDEPTID           销售部门         ref=BD_Department
FSELLER              销售员           ref=BD_Saler
FSALGROUPID          销售组           ref=BD_SalesGroup
FSETTLETYPEID        结算方式         ref=BD_SETTLETYPE
FRECCONDITIONID      收款条件         ref=BD_RecCondition
FCorrespondOrgId     对应组织         ref=ORG_Organizations
FSUPPLIERID          对应供应商       ref=BD_Supplier
FGROUPCUSTID         对应集团客户     ref=BD_Customer
FPRICELISTID         价目表           ref=BD_SAL_PriceList
FDISCOUNTLISTID      折扣表           ref=BD_SAL_DiscountList
F_HUB_EXTID          外部系统编号     text
FForbidStatus        禁用状态         enum=A|B system
"""

CUSTOMER_EXTRA = """
FEnableSL       启用销售限售 flag
FALLOWJOINZHJ   允许对接智慧记 flag
FPROVINCE       省份         ref=BAS_Province
FCITY           城市         ref=BAS_City
FDefaultContact 默认联系人   ref=BD_CommonContact
"""

CUSTOMER_CONTACTS = """
FContactId  联系人   ref=BD_CommonContact
FBizAddress 详细地址 text
"""

CUSTOMER_ADDRESSES = """
FNUMBER1            地点编码     text
FNAME1              地点名称     text
FADDRESS1           详细地址     text
FMOBILE             移动电话     text
FIsDefaultConsignee 默认收货地址 flag
FIsDefaultSettle    默认开票地址 flag
FIsDefaultPayer     默认付款地址 flag
FIsUsed             启用         flag
"""

CUSTOMER_BANKS = """
FCOUNTRY1        国家       ref=BAS_Country
FBANKCODE        银行账号   text
FACCOUNTNAME     账户名称   text
FBankTypeRec     收款银行   ref=BD_Bank
FTextBankDetail  银行网点   text
FOpenAddressRec  开户行地址 text
FOPENBANKNAME    开户银行   text
FCNAPS           联行号     text
FCURRENCYID      币别       ref=BD_Currency
FISDEFAULT1      默认       flag
"""

RECEIPT = """
FBillTypeID       单据类型       ref=BOS_BillType must FNUMBER
FBillNo           单据编号       text
FDATE             业务日期       date must
FCONTACTUNITTYPE  往来单位类型   enum=BD_Customer|BD_Supplier|BD_Department must
FCONTACTUNIT      往来单位       multi=FCONTACTUNITTYPE must
FPAYUNITTYPE      付款单位类型   enum=BD_Customer|BD_Supplier|BD_Department must
FPAYUNIT          付款单位       multi=FPAYUNITTYPE must
FCURRENCYID       币别           ref=BD_Currency must
FPAYORGID         收款组织       ref=ORG_Organizations must
FSETTLEORGID      结算组织       ref=ORG_Organizations
FSALEORGID        销售组织       ref=ORG_Organizations
FSALEDEPTID       销售部门       ref=BD_Department
FSALEERID         销售员         ref=BD_Saler
FSETTLECUR        结算币别       ref=BD_Currency must FNUMBER
FSETTLEMAINBOOKID 结算本位币     ref=BD_Currency must FNUMBER
FEXCHANGERATE     汇率           amount
FSETTLERATE       结算汇率       amount
FBUSINESSTYPE     业务类型       text must
FISINIT           是否期初单据   flag
FISB2C            是否B2C        flag
FIsWriteOff       参与核销       flag
FISCARRYRATE      带入汇率       flag
FCancelStatus     作废状态       enum=A|B must
FMatchMethodID    核销方式       text
FWBSETTLENO       网银结算号     text
FKDPAYNO          金蝶支付流水号 text
FREMARK           备注           text
FTHIRDBILLNO      第三方单据编号 text
FApproverId       审核人         ref=SEC_User system
FApproveDate      审核日期       time system
FRECAMOUNTFOR     收款金额       amount system
FWRITTENOFFSTATUS 核销状态       enum=A|B|C system
"""

RECEIPT_ROWS = """
FSETTLETYPEID          结算方式     ref=BD_SETTLETYPE must
FPURPOSEID             收款用途     ref=CN_RECPAYPURPOSE must
FRECTOTALAMOUNTFOR     应收金额     amount
FRECAMOUNTFOR_E        收款金额     amount
FRECAMOUNT_E           收款金额本位币 amount
FSETTLEDISTAMOUNTFOR   现金折扣     amount
FSETTLERECAMOUNTFOR    折后金额     amount
FREALRECAMOUNTFOR_D    实收金额     amount
FHANDLINGCHARGEFOR     手续费       amount
FOVERUNDERAMOUNTFOR    长短款       amount
FACCOUNTID             我方银行账号 ref=CN_BANKACNT
FCashAccount           现金账号     ref=CN_CASHACCOUNT
FINNERACCOUNTID        内部账号     ref=CN_INNERACCOUNT
FSETTLENO              结算号       text
FPOSTDATE              登账日期     date must
FRECEIVEITEMTYPE       预收项目类型 text
FRECEIVEITEM           预收项目     text
FSaleOrderID           销售订单内码 int
FSALEORDERNO           销售订单号   text
FOPPOSITEBANKACCOUNT   对方银行账号 text
FOPPOSITECCOUNTNAME    对方账户名称 text
FOPPOSITEBANKNAME      对方开户行   text
FCOMMENT               备注         text
FNOTVERIFICATEAMOUNT   未核销金额   amount
FWRITTENOFFAMOUNTFOR_D 已核销金额   amount system
"""

RECEIPT_SOURCES = """
FSOURCETYPE 源单类型 text
FSRCBILLNO  源单编号 text
"""


def _rows(key: str, label: str, table: str, row_id: str = "FEntryID") -> Entity:
    return Entity(key, label, parse_fields(table, key), row_id=row_id)


def _base(form: str, title: str) -> Form:
    head = parse_fields(
        "FNumber 编码 text must\nFName 名称 name must\nFForbidStatus 禁用状态 enum=A|B system" + STAMPS
    )
    return Form(form, title, "FID", "FNumber", head, indexed=("FNumber",))


_TITLES = {
    "ORG_Organizations": "组织机构", "SEC_User": "用户", "BD_Currency": "币别", "BD_SETTLETYPE": "结算方式",
    "CN_RECPAYPURPOSE": "收付款用途", "BOS_BillType": "单据类型", "CN_BANKACNT": "银行账号",
    "CN_CASHACCOUNT": "现金账号", "CN_INNERACCOUNT": "内部账号", "BD_Department": "部门",
    "BD_Saler": "销售员", "BD_SalesGroup": "销售组", "BD_CustomerGroup": "客户分组",
    "BD_CustomerType": "客户类别",
    "BD_RecCondition": "收款条件", "BD_TaxRate": "税率", "BD_Supplier": "供应商", "BD_Bank": "银行",
    "BD_CommonContact": "联系人", "BD_SAL_PriceList": "销售价目表", "BD_SAL_DiscountList": "销售折扣表",
    "BAS_Country": "国家", "BAS_Province": "地区", "BAS_City": "城市", "BAS_TaxType": "税分类",
}  # fmt: skip

_FORMS = (
    *(_base(form, title) for form, title in _TITLES.items()),
    Form(
        "BD_Customer",
        "客户",
        "FCUSTID",
        "FNumber",
        parse_fields(CUSTOMER + STAMPS),
        (
            Entity(
                "FT_BD_CUSTOMEREXT", "客户扩展", parse_fields(CUSTOMER_EXTRA, "FT_BD_CUSTOMEREXT"), many=False
            ),
            _rows("FT_BD_CUSTLOCATION", "联系人", CUSTOMER_CONTACTS, "FENTRYID"),
            _rows("FT_BD_CUSTCONTACT", "地址信息", CUSTOMER_ADDRESSES, "FENTRYID"),
            _rows("FT_BD_CUSTBANK", "银行信息", CUSTOMER_BANKS, "FENTRYID"),
            _rows("FT_BD_CUSTORDERORG", "订货组织", ""),
            _rows("FT_BD_CUSTSUBACCOUNT", "子账户", ""),
        ),
        org="FUseOrgId",
        prefix="CUST",
        digits=4,
        indexed=("FNumber", "F_HUB_EXTID"),
    ),
    Form(
        "AR_RECEIVEBILL",
        "收款单",
        "FID",
        "FBillNo",
        parse_fields(RECEIPT + STAMPS),
        (
            _rows("FRECEIVEBILLENTRY", "收款单明细", RECEIPT_ROWS),
            _rows("FRECEIVEBILLSRCENTRY", "收款单源单明细", RECEIPT_SOURCES),
            _rows("FBILLRECEIVABLEENTRY", "应收票据", ""),
            _rows("FBILLSKDRECENTRY", "票据背书", ""),
        ),
        org="FPAYORGID",
        prefix="SKD",
        digits=8,
        indexed=("FBillNo", "FTHIRDBILLNO"),
        base=False,
        period="FDATE",
        totals={"FRECAMOUNTFOR": ("FRECEIVEBILLENTRY", "FRECAMOUNTFOR_E")},
    ),
)

FORMS: Mapping[str, Form] = {form.id.upper(): form for form in _FORMS}
"""All forms by upper-case id: form ids are compared in any case (3.7)."""


def find_form(form: str) -> Form | None:
    """Return the form with this id, in any case of letters."""
    return FORMS.get(form.strip().upper())


BASE_DATA: Mapping[str, Mapping[str, str]] = {
    "ORG_Organizations": {"100": "示例集团有限公司", "200": "示例华南分公司"},
    "SEC_User": {"Administrator": "系统管理员", "hub": "集成用户", "zhangsan": "张三"},
    "BD_Currency": {"PRE001": "人民币", "PRE007": "美元"},
    "BD_SETTLETYPE": {"JSFS01_SYS": "现金", "JSFS04_SYS": "电汇"},
    "CN_RECPAYPURPOSE": {"SFKYT01_SYS": "销售收款", "SFKYT02_SYS": "预收款"},
    "BOS_BillType": {"SKDLX01_SYS": "销售收款单"},
    "CN_BANKACNT": {"ACC-001": "示例银行基本户"},
    "BD_Department": {"BM000001": "销售一部"},
    "BD_Saler": {"0001": "李四"},
    "BD_SalesGroup": {"XSZ01": "销售一组"},
    "BD_CustomerGroup": {"01": "国内客户", "02": "海外客户"},
    "BD_CustomerType": {"KHLB001_SYS": "普通销售客户"},
    "BD_RecCondition": {"SKTJ01_SYS": "货到收款"},
    "BD_TaxRate": {"SL02_SYS": "增值税13%"},
    "BAS_TaxType": {"SFL02_SYS": "一般纳税人"},
    "BAS_Country": {"China": "中国"},
    "BAS_Province": {"SH": "上海", "GD": "广东"},
    "BAS_City": {"SH01": "上海市", "GZ01": "广州市"},
}
"""What a fresh site holds: form → number → name; all audited and enabled."""

SEED_DEFAULTS: Mapping[str, Mapping[str, Json]] = {
    "BD_Customer": {"FCreateOrgId": "100", "FTRADINGCURRID": "PRE001"},
    "AR_RECEIVEBILL": {
        "FBillTypeID": "SKDLX01_SYS", "FCONTACTUNITTYPE": "BD_Customer", "FPAYUNITTYPE": "BD_Customer",
        "FCURRENCYID": "PRE001", "FPAYORGID": "100", "FSETTLECUR": "PRE001", "FSETTLEMAINBOOKID": "PRE001",
        "FBUSINESSTYPE": "1", "FCancelStatus": "A",
    },
}  # fmt: skip
"""Values a seeded object gets where the control call names none."""
